"""The exported networks by ONNX Runtime, on the CPU or on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.bundle.reader import Bundle
from cdp.runtime.config import RuntimeConfig
from cdp.runtime.errors import InferenceError
from cdp.runtime.networks import Engine, Network, Part, absent, first_line, of_pixels

#: Providers in the order in which ONNX Runtime gives them the graph; what one cannot run falls to the next.
_PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}


def open_engine(bundle: Bundle, config: RuntimeConfig) -> Engine:
    """ONNX Runtime by the provider that is configured. Raises :class:`InferenceError` where it, or the provider, is missing."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InferenceError(absent("onnxruntime", "openvino", error)) from None
    providers = _PROVIDERS[config.provider]
    if providers[0] not in onnxruntime.get_available_providers():
        raise InferenceError(_without(onnxruntime, config.provider, "it is not part of the installed package"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def load(part: Part, shapes: Mapping[str, tuple[int, ...]]) -> Network:
        path = bundle.encoder_path if part == "encoder" else bundle.denoiser_path
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
        except Exception as error:
            raise InferenceError(f"onnxruntime {onnxruntime.__version__} cannot load {path}: {first_line(error)}; update it") from error
        # A provider whose libraries are missing is left out without an error.
        if providers[0] not in session.get_providers():
            raise InferenceError(_without(onnxruntime, config.provider, "its libraries cannot be loaded"))

        def run(inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
            return np.asarray(session.run(None, dict(inputs))[0], dtype=np.float32)

        return of_pixels(run) if part == "encoder" else run

    return Engine(load, config.provider, "fp32")


def _without(onnxruntime: Any, provider: str, why: str) -> str:
    return f"onnxruntime {onnxruntime.__version__} has no provider {provider}: {why}; install onnxruntime-gpu with CUDA or set the provider to cpu"
