"""How good the averaged weights are, on windows that training never sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cdp.actions import POSITION
from cdp.diffusion.sampler import sample
from cdp.networks.policy import VisionPolicy
from cdp.train.batches import Windows, image_tensor, step_generator
from cdp.train.config import TrainConfig
from cdp.train.objective import diffusion_loss

_BATCH = 64
_NOISE_STREAM = 2**31


@dataclass(frozen=True)
class Validation:
    """Denoising loss; root mean square of the sampled chunk's error, normalised; mean distance of its positions from the operator's [m]."""

    loss: float
    action_error: float
    position_error_m: float


@torch.no_grad()
def validate(policy: VisionPolicy, windows: Windows, config: TrainConfig, device: torch.device) -> Validation:
    """Look at ``config.validate_windows`` windows spread evenly, with the deployed sampler and noise that is the same at every call."""
    rows = even_rows(len(windows), config.validate_windows)
    generator = step_generator(config.seed, _NOISE_STREAM)
    losses, errors, distances = [], [], []
    for start in range(0, len(rows), _BATCH):
        batch = windows.batch(rows[start : start + _BATCH])
        chunk = torch.from_numpy(batch["action"]).to(device)
        cond = conditions(policy, batch, device)
        prediction = config.network.denoiser.prediction
        loss = diffusion_loss(policy.denoise, chunk, cond, config.diffusion, config.weighting, generator, prediction)
        losses.append(float(loss) * len(chunk))
        noise = torch.randn(chunk.shape, generator=generator).to(device)
        predicted = sample_actions(policy, cond, noise, config)
        errors.append((predicted - chunk).square().flatten(1).mean(dim=1))
        scale = windows.stats.action
        positions = [scale.denormalise(a.cpu().numpy())[..., POSITION] for a in (predicted, chunk)]
        distances.append(np.linalg.norm(positions[0] - positions[1], axis=-1).mean(axis=1))
    return Validation(sum(losses) / len(rows), float(torch.cat(errors).mean().sqrt()), float(np.concatenate(distances).mean()))


@torch.no_grad()
def encode_windows(policy: VisionPolicy, windows: Windows, count: int, device: torch.device) -> Tensor:
    """Conditions (N, C) of ``count`` windows spread evenly over the split (all of them where there are fewer)."""
    batch = windows.batch(even_rows(len(windows), count))
    return conditions(policy, batch, device)


def conditions(policy: VisionPolicy, batch: Mapping[str, Any], device: torch.device) -> Tensor:
    """Conditions (B, C) of a batch of windows, or the first draw of those that come encoded."""
    if "cond" in batch:
        encoded: Tensor = batch["cond"][:, 0]
        return encoded.to(device)
    return policy.encode(image_tensor(batch["image"], device), torch.from_numpy(batch["lowdim"]).to(device))


def sample_actions(policy: VisionPolicy, cond: Tensor, noise: Tensor, config: TrainConfig) -> Tensor:
    """Chunks (B, T, D) of the deployed sampler from ``noise`` (B, T, D) and conditions (B, C)."""
    chunk: Tensor = sample(lambda x, t: policy.denoise(x, t, cond), noise, config.sampler.steps, config.sampler.solver, config.diffusion)
    return chunk


def even_rows(length: int, count: int) -> np.ndarray:
    """``min(length, count)`` rows of ``length``, evenly spread."""
    return np.linspace(0, length - 1, min(length, count)).round().astype(np.int64)
