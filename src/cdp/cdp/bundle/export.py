"""Encoder and denoiser as ONNX, checked against torch where they are written.

Two models instead of one graph: the encoder runs once an observation, the denoiser once a sampler step, and steps and solver stay free at run time.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from cdp.bundle.errors import BundleError
from cdp.bundle.manifest import PolicyDescription
from cdp.diffusion.path import NoisePath
from cdp.networks.policy import VisionPolicy

PARITY_TOLERANCE = 1e-4
"""Largest difference between torch and ONNX Runtime, in normalised units, that a bundle may be written with."""

_PARITY_DRAWS = 3
_DENOISER_BATCHES = (1, 3)


@dataclass(frozen=True)
class Shapes:
    """Sizes of a policy's inputs and outputs."""

    window: int
    height: int
    width: int
    lowdim_width: int
    horizon: int
    action_width: int

    def observation(self, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A random ``image`` (1, To, 3, H, W) in [0, 1] and ``lowdim`` (1, To, P)."""
        image = torch.rand((1, self.window, 3, self.height, self.width), generator=generator)
        return image, torch.rand((1, self.window, self.lowdim_width), generator=generator) * 2 - 1

    def noisy(self, batch: int, condition_width: int, path: NoisePath, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Random ``x`` (B, T, D) and ``t`` (B,) as on ``path``, and ``cond`` (B, C)."""
        x = torch.randn((batch, self.horizon, self.action_width), generator=generator)
        t = path.training_time(1 - torch.rand(batch, generator=generator))
        return path.size(t)[:, None, None] * x, t, torch.randn((batch, condition_width), generator=generator)


def shapes_of(description: PolicyDescription) -> Shapes:
    """The sizes that a description implies."""
    observation = description.observation
    size = observation.image_size
    return Shapes(observation.window, size, size, observation.lowdim_width, description.horizon, description.action_width)


def export(policy: VisionPolicy, shapes: Shapes, path: NoisePath, encoder_path: Path, denoiser_path: Path) -> dict[str, float]:
    """Write both models and return the largest difference from torch on random inputs, of noisy chunks on ``path``, by model.

    The encoder takes batch 1, the denoiser any batch. The policy is copied to the CPU and left as it is. Raises :class:`BundleError` where the two
    disagree by more than :data:`PARITY_TOLERANCE`.
    """
    encoder, denoiser = (copy.deepcopy(m).cpu().float().eval() for m in (policy.encoder, policy.denoiser))
    generator = torch.Generator().manual_seed(0)
    observation = shapes.observation(generator)
    with torch.no_grad():
        condition_width = int(encoder(*observation).shape[-1])
    _export_one(encoder, observation, ("image", "lowdim"), "cond", encoder_path, dynamic_batch=False)
    _export_one(denoiser, shapes.noisy(2, condition_width, path, generator), ("x", "t", "cond"), "x0", denoiser_path, dynamic_batch=True)
    observations = [shapes.observation(generator) for _ in range(_PARITY_DRAWS)]
    noisy = [shapes.noisy(batch, condition_width, path, generator) for batch in _DENOISER_BATCHES for _ in range(_PARITY_DRAWS)]
    return {
        "encoder": _parity(encoder, encoder_path, ("image", "lowdim"), observations),
        "denoiser": _parity(denoiser, denoiser_path, ("x", "t", "cond"), noisy),
    }


def _export_one(module: nn.Module, inputs: tuple[torch.Tensor, ...], names: tuple[str, ...], output: str, path: Path, *, dynamic_batch: bool) -> None:
    batch = torch.export.Dim("batch", min=1, max=4096)
    dynamic = tuple({0: batch} for _ in inputs) if dynamic_batch else None
    with _quiet():
        torch.onnx.export(
            module,
            inputs,
            str(path),
            input_names=list(names),
            output_names=[output],
            dynamic_shapes=dynamic,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _parity(module: nn.Module, path: Path, names: tuple[str, ...], draws: Sequence[tuple[torch.Tensor, ...]]) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for inputs in draws:
        feeds: Mapping[str, np.ndarray] = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        with torch.no_grad():
            expected = module(*inputs).numpy()
        difference = float(np.abs(session.run(None, feeds)[0] - expected).max())
        # A NaN compares false with everything: it has to fail here, not pass.
        if not difference <= PARITY_TOLERANCE:
            raise BundleError(
                f"{path.name} differs from torch by {difference:.2g}, more than {PARITY_TOLERANCE:g}: nothing was written; "
                "check the weights for NaN and the network for operations that ONNX rounds otherwise"
            )
        worst = max(worst, difference)
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks on optional packages and its own deprecations; its errors still raise."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
