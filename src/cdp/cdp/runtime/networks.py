"""One ONNX network behind one call, by OpenVINO or ONNX Runtime. Threads are few and never spin: the robot's driver shares the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.runtime.config import ONNXRUNTIME, RuntimeConfig
from cdp.runtime.errors import InferenceError

Network = Callable[[Mapping[str, NDArray[np.float32]]], NDArray[np.float32]]
"""Inputs by name -> the only output, an array of its own."""

_INSTALL = "install it (pip install {0}) or set the backend to {1}"


def load_network(path: Path, shapes: Mapping[str, tuple[int, ...]], config: RuntimeConfig) -> Network:
    """The network in ``path`` for inputs of exactly ``shapes``. Raises :class:`InferenceError` where the backend is absent or refuses it."""
    if config.backend == ONNXRUNTIME:
        return _load_onnxruntime(path, config)
    return _load_openvino(path, shapes, config)


def _load_onnxruntime(path: Path, config: RuntimeConfig) -> Network:
    try:
        import onnxruntime
    except ImportError as error:
        raise InferenceError(f"backend onnxruntime cannot be loaded ({error}); {_INSTALL.format('onnxruntime', 'openvino')}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InferenceError(f"onnxruntime {onnxruntime.__version__} cannot load {path}: {_first_line(error)}; update it") from error

    def run(inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, dict(inputs))[0], dtype=np.float32)

    return run


def _load_openvino(path: Path, shapes: Mapping[str, tuple[int, ...]], config: RuntimeConfig) -> Network:
    try:
        import openvino
    except ImportError as error:
        raise InferenceError(f"backend openvino cannot be loaded ({error}); {_INSTALL.format('openvino', 'onnxruntime')}") from None
    core = openvino.Core()
    # Without the instructions OpenVINO emulates bf16, ten times slower than fp32.
    if config.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InferenceError("precision bf16 needs a CPU with AVX512_BF16 or AMX, which this one has not; set the precision to fp32")
    precision = {"fp32": "f32", "bf16": "bf16"}[config.precision]
    properties: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": config.threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        # A pinned thread waits for whatever else the system put on that core.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        model = core.read_model(str(path))
        # With its shapes fixed the graph is planned once, not at each call.
        model.reshape({name: list(shape) for name, shape in shapes.items()})
        compiled = core.compile_model(model, "CPU", properties)
    except RuntimeError as error:
        raise InferenceError(
            f"openvino {openvino.__version__} cannot load {path}: {_first_line(error)}; update it or set the backend to onnxruntime"
        ) from error
    request = compiled.create_infer_request()

    def run(inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        request.infer(dict(inputs), share_inputs=True)
        return np.array(request.get_output_tensor().data, dtype=np.float32)

    return run


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
