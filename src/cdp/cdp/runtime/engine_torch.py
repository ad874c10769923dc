"""The bundle's weights by torch: for comparison, and where a bundle's networks are looked into. Needs torch, which a robot need not have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cdp.bundle.errors import BundleError
from cdp.bundle.reader import Bundle
from cdp.runtime.config import RuntimeConfig
from cdp.runtime.errors import InferenceError
from cdp.runtime.networks import Engine, Network, Part, absent, of_pixels


def open_engine(bundle: Bundle, config: RuntimeConfig) -> Engine:
    """Torch on the CPU, in single precision. Raises :class:`InferenceError` where it is not installed or the weights do not fit the configuration."""
    try:
        import torch

        from cdp.bundle.policy import weights_policy
    except ImportError as error:
        raise InferenceError(absent("torch", "openvino", error)) from None
    torch.set_num_threads(config.threads)
    try:
        policy = weights_policy(bundle)
    except BundleError as error:
        raise InferenceError(str(error)) from None

    def load(part: Part, shapes: Mapping[str, tuple[int, ...]]) -> Network:
        names, module = (("image", "lowdim"), policy.encoder) if part == "encoder" else (("x", "t", "cond"), policy.denoiser)

        def run(inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
            with torch.inference_mode():
                return np.asarray(module(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in names)).numpy(), dtype=np.float32)

        return of_pixels(run) if part == "encoder" else run

    return Engine(load, "cpu", "fp32")
