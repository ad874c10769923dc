"""The exported networks by OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.bundle.reader import Bundle
from cdp.runtime.config import RuntimeConfig
from cdp.runtime.errors import InferenceError
from cdp.runtime.networks import Engine, Network, Part, absent, first_line
from cdp.runtime.openvino_split import TIME, SplitDenoiser, split_denoiser

_HINTS = {"fp32": "f32", "bf16": "bf16"}


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

    def load(part: Part, shapes: Mapping[str, tuple[int, ...]]) -> Network:
        path = bundle.encoder_path if part == "encoder" else bundle.denoiser_path
        try:
            model = core.read_model(str(path))
            # With its shapes fixed the graph is planned once, not at each call.
            model.reshape({name: list(shape) for name, shape in shapes.items()})
            parts = split_denoiser(model) if part == "denoiser" and shapes[TIME] == (1,) else None
            if parts is not None:
                head, body, count = parts
                return SplitDenoiser(core.compile_model(head, "CPU", properties), core.compile_model(body, "CPU", properties), count)
            compiled = core.compile_model(model, "CPU", properties)
        except RuntimeError as error:
            raise InferenceError(
                f"openvino {openvino.__version__} cannot load {path}: {first_line(error)}; update it or set the backend to onnxruntime"
            ) from error
        request = compiled.create_infer_request()
        # Filled in place: handing arrays to each call costs a fifth of a small network's time in Python.
        tensors = {name: request.get_tensor(name).data for name in shapes}
        output = request.get_output_tensor().data

        def run(inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
            for name, value in inputs.items():
                if value.shape != tensors[name].shape:
                    raise ValueError(f"{name}: shape {value.shape}, not {tensors[name].shape}")
                tensors[name][...] = value
            request.infer(share_outputs=True)
            return np.array(output, dtype=np.float32)

        return run

    return Engine(load, "cpu", precision)


def _precision(core: Any, asked: str) -> str:
    # Without the instructions OpenVINO emulates bf16, ten times slower than fp32.
    native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if asked == "auto":
        return "bf16" if native else "fp32"
    if asked == "bf16" and not native:
        raise InferenceError("precision bf16 needs a CPU with AVX512_BF16 or AMX, which this one has not; set the precision to fp32 or auto")
    return asked
