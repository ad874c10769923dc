"""The exported networks by OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.bundle.reader import Bundle
from cdp.runtime.config import RuntimeConfig
from cdp.runtime.errors import InferenceError
from cdp.runtime.frames import IMAGE, LOWDIM, FrameEncoder
from cdp.runtime.networks import Engine, Network, Part, absent, first_line
from cdp.runtime.openvino_frames import FEATURES, split_encoder
from cdp.runtime.openvino_split import TIME, SplitDenoiser, split_denoiser

_HINTS = {"fp32": "f32", "bf16": "bf16"}
# How far two ways to compute a condition, whose values are of the order of 1, may differ by rounding.
_ALIKE = {"fp32": 1e-4, "bf16": 5e-2}


def open_engine(bundle: Bundle, config: RuntimeConfig) -> Engine:
    """OpenVINO on the CPU. Raises :class:`InferenceError` where it is not installed, or for bf16 on a CPU that would emulate it."""
    try:
        import openvino
    except ImportError as error:
        raise InferenceError(absent("openvino", "onnxruntime", error)) from None
    core = openvino.Core()
    precision = _precision(core, config.precision)
    properties: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": config.threads,
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        # A pinned thread waits for whatever else the system put on that core.
        "ENABLE_CPU_PINNING": False,
    }

    def compiled(model: Any) -> Any:
        return core.compile_model(model, "CPU", properties)

    def load(part: Part, shapes: Mapping[str, tuple[int, ...]]) -> Network:
        path = bundle.encoder_path if part == "encoder" else bundle.denoiser_path
        try:
            model = core.read_model(str(path))
            # With its shapes fixed the graph is planned once, not at each call.
            model.reshape({name: list(shape) for name, shape in shapes.items()})
            if part == "encoder":
                return open_encoder(model, shapes, compiled, _ALIKE[precision])
            parts = split_denoiser(model) if shapes[TIME] == (1,) else None
            if parts is not None:
                head, body, count = parts
                return SplitDenoiser(compiled(head), compiled(body), count)
            return Request(compiled(model), shapes)
        except RuntimeError as error:
            raise InferenceError(
                f"openvino {openvino.__version__} cannot load {path}: {first_line(error)}; update it or set the backend to onnxruntime"
            ) from error

    return Engine(load, "cpu", precision)


class Request:
    """A compiled network of one output, called with arrays of exactly the ``shapes`` of its inputs. Not thread-safe."""

    def __init__(self, compiled: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._request = compiled.create_infer_request()
        # Filled in place: handing arrays to each call costs a fifth of a small network's time in Python.
        self._tensors = {name: self._request.get_tensor(name).data for name in shapes}
        self._output = self._request.get_output_tensor().data

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """The output, an array of its own. Raises ValueError for an input of another shape."""
        for name, value in inputs.items():
            if value.shape != self._tensors[name].shape:
                raise ValueError(f"{name}: shape {value.shape}, not {self._tensors[name].shape}")
            self._tensors[name][...] = value
        self._request.infer(share_outputs=True)
        return np.array(self._output, dtype=np.float32)


def open_encoder(model: Any, shapes: Mapping[str, tuple[int, ...]], compiled: Callable[[Any], Any], alike: float) -> Network:
    """The encoder frame by frame where that computes the same, else as it is.

    ``shapes``: of the inputs, image (1, To, 3, H, W) and lowdim (1, To, P). ``compiled`` compiles a model; ``alike``: by how much, relative and
    absolute, the conditions (1, C) of both ways may differ.
    """
    whole = Request(compiled(model), shapes)
    parts = split_encoder(model)
    if parts is None:
        return whole
    see, fuse = parts
    frame, features = see.inputs[0].get_shape(), fuse.input(FEATURES).get_shape()
    seer = Request(compiled(see), {IMAGE: tuple(frame)})
    fuser = Request(compiled(fuse), {FEATURES: tuple(features), LOWDIM: shapes[LOWDIM]})
    made = FrameEncoder(
        shapes[IMAGE][1], lambda image: seer({IMAGE: image}), lambda seen, lowdim: fuser({FEATURES: np.concatenate(seen), LOWDIM: lowdim})
    )
    # A backbone of the user's own may do with its batch what ours does not.
    draw = np.random.default_rng(0)
    trial = {name: draw.random(shape, dtype=np.float32) for name, shape in shapes.items()}
    return made if np.allclose(made(trial), whole(trial), rtol=alike, atol=alike) else whole


def _precision(core: Any, asked: str) -> str:
    # Without the instructions OpenVINO emulates bf16, ten times slower than fp32.
    native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if asked == "auto":
        return "bf16" if native else "fp32"
    if asked == "bf16" and not native:
        raise InferenceError("precision bf16 needs a CPU with AVX512_BF16 or AMX, which this one has not; set the precision to fp32 or auto")
    return asked
