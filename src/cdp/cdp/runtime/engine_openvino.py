"""The exported networks by OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdp.bundle.reader import Bundle
from cdp.runtime.config import RuntimeConfig
from cdp.runtime.errors import InferenceError
from cdp.runtime.networks import Engine, Network, Part, absent, first_line
from cdp.runtime.openvino_core import openvino_core
from cdp.runtime.openvino_networks import open_denoiser, open_encoder
from cdp.runtime.openvino_split import TIME

_HINTS = {"fp32": "f32", "bf16": "bf16"}
# How far two ways to compute what is of the order of 1 may differ by rounding.
_ALIKE = {"fp32": 1e-4, "bf16": 5e-2}


def open_engine(bundle: Bundle, config: RuntimeConfig) -> Engine:
    """OpenVINO on the CPU. Raises :class:`InferenceError` where it is not installed, or for bf16 on a CPU that would emulate it."""
    try:
        import openvino
    except ImportError as error:
        raise InferenceError(absent("openvino", "onnxruntime", error)) from None
    core = openvino_core()
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
            steps = bundle.policy.steps if config.steps is None else config.steps
            # In the loop the sampler's own arithmetic would be bf16 too.
            in_one_call = precision == "fp32"
            return open_denoiser(model, shapes, compiled, _ALIKE[precision], steps if shapes[TIME] == (1,) else None, in_one_call)
        except RuntimeError as error:
            raise InferenceError(
                f"openvino {openvino.__version__} cannot load {path}: {first_line(error)}; update it or set the backend to onnxruntime"
            ) from error

    return Engine(load, "cpu", precision)


def _precision(core: Any, asked: str) -> str:
    # Without the instructions OpenVINO emulates bf16, ten times slower than fp32.
    native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if asked == "auto":
        return "bf16" if native else "fp32"
    if asked == "bf16" and not native:
        raise InferenceError("precision bf16 needs a CPU with AVX512_BF16 or AMX, which this one has not; set the precision to fp32 or auto")
    return asked
