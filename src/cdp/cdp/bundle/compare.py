"""One chunk of a bundle's policy by torch and by every inference backend, from the same observation and noise."""

from __future__ import annotations

import numpy as np
import torch

from cdp.bundle.export import shapes_of
from cdp.bundle.policy import weights_policy
from cdp.bundle.reader import Bundle
from cdp.data.window import WindowArrays
from cdp.diffusion.sampler import sample
from cdp.runtime.config import ONNX_BACKENDS, RuntimeConfig
from cdp.runtime.policy import PolicyRuntime


def chunk_differences(bundle: Bundle, seed: int = 0) -> dict[str, float]:
    """Largest difference, in normalised actions and single precision, between a chunk of torch and one of each backend
    of the exported networks, by its name.

    A random observation, the bundle's own steps and solver. Raises :class:`cdp.runtime.InferenceError` for a backend that cannot run it.
    """
    description = bundle.policy
    generator = torch.Generator().manual_seed(seed)
    image, lowdim = shapes_of(description).observation(generator)
    pixels = (image * 255.0).round().to(torch.uint8)
    window: WindowArrays = {"image": pixels[0].permute(0, 2, 3, 1).contiguous().numpy(), "lowdim": lowdim[0].numpy()}
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal((1, description.horizon, description.action_width), dtype=np.float32))
    policy = weights_policy(bundle)
    with torch.no_grad():
        cond = policy.encode(pixels.float() / 255.0, lowdim)
        expected = sample(lambda x, t: policy.denoise(x, t, cond), noise, description.steps, description.solver, description.schedule)[0].numpy()
    differences = {}
    for backend in ONNX_BACKENDS:
        chunk = PolicyRuntime(bundle, RuntimeConfig(backend=backend, seed=seed)).act(window).normalised
        differences[backend] = float(np.abs(expected - chunk).max())
    return differences
