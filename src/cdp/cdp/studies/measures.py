"""What is measured of a sampler on the toy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from cdp.contraction.estimators import Map, exact_jacobian
from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import sample
from cdp.studies.toy_task import HIT_RADIUS

#: A mode is kept for a state where at least this share of its samples hits it.
KEPT_SHARE = 0.1
_JACOBIAN_BATCH = 512
_STEP_NOISE_SEED = 20_240_602


def sampler_of(
    denoise: ConditionalDenoise, cond: Tensor, steps: int, solver: str, schedule: NoisePath, temperature: float = 1.0, eta: float = 1.0
) -> Map:
    """The sampler under conditions ``cond`` (N, C) as a map from unit noise (N, T, D) to actions; ``temperature`` scales the noise first.

    A stochastic solver, of noise ``eta``, draws the same noise at each call.
    """

    def fn(noise: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(_STEP_NOISE_SEED)
        return cast(Tensor, sample(lambda a, t: denoise(a, t, cond), temperature * noise, steps, solver, schedule, generator=generator, eta=eta))

    return fn


def hits(actions: Tensor, mode: Tensor, radius: float = HIT_RADIUS) -> Tensor:
    """Whether actions (S, Z, 2) lie within ``radius`` of the mode ``m`` and of ``-m``, m (S, 2): (S, Z, 2) booleans."""
    both = torch.stack([mode, -mode], dim=1)
    distance = (actions[:, :, None] - both[:, None]).norm(dim=-1)
    return cast(Tensor, distance <= radius)


def hit_rate(actions: Tensor, mode: Tensor) -> float:
    """Share of actions (S, Z, 2) that hit either mode."""
    return float(hits(actions, mode).any(dim=-1).float().mean())


def rarer_share(actions: Tensor, mode: Tensor) -> Tensor:
    """For each state (S,), the share of its samples (S, Z, 2) that hit the mode which is hit less."""
    return hits(actions, mode).float().mean(dim=1).amin(dim=1)


def coverage(actions: Tensor, mode: Tensor) -> float:
    """Share of states for which each of the two modes is hit by :data:`KEPT_SHARE` of the samples (S, Z, 2) or more."""
    return float((rarer_share(actions, mode) >= KEPT_SHARE).float().mean())


def seed_std(actions: Tensor) -> float:
    """Standard deviation over the noise seeds of actions (S, Z, 2): root mean square over states and axes, both modes together."""
    return float(actions.var(dim=1).mean().sqrt())


def within_std(actions: Tensor, mode: Tensor) -> float:
    """Standard deviation around the mean of the samples on the same side, root mean square over samples (S, Z, 2) and axes.

    A side is the half plane of a mode; the mean is of one state's samples on that side. Samples between the modes count, each on its side.
    """
    side = ((actions * mode[:, None]).sum(dim=-1, keepdim=True) > 0.0).to(actions.dtype)
    total = torch.zeros(())
    for weight in (side, 1.0 - side):
        mean = (weight * actions).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True).clamp_min(1.0)
        total = total + (weight * (actions - mean).square()).sum()
    return float((total / actions.numel()).sqrt())


def lipschitz(fn: Map, noise: Tensor) -> Tensor:
    """Local Lipschitz constant (N,) of ``fn`` at ``noise`` (N, T, D): the largest singular value of its exact Jacobian."""
    return cast(Tensor, torch.linalg.matrix_norm(exact_jacobian(fn, noise).detach(), ord=2))


def sampler_lipschitz(
    denoise: ConditionalDenoise, cond: Tensor, noise: Tensor, steps: int, solver: str, schedule: NoisePath, temperature: float = 1.0
) -> Tensor:
    """:func:`lipschitz` of the sampler at unit noise (N, T, D) under conditions (N, C), in batches that fit in memory."""
    parts = [
        lipschitz(sampler_of(denoise, cond[i : i + _JACOBIAN_BATCH], steps, solver, schedule, temperature), noise[i : i + _JACOBIAN_BATCH])
        for i in range(0, len(noise), _JACOBIAN_BATCH)
    ]
    return torch.cat(parts)


def at_hit_rate(level: float, rates: Sequence[float], values: Sequence[float]) -> float | None:
    """Positive ``values`` where ``rates``, in the order of training, first reach ``level``; None where they never do.

    Between snapshots the logarithm of a value is linear in the rate.
    """
    for i, rate in enumerate(rates):
        if rate >= level:
            if i == 0:
                return values[0]
            share = (level - rates[i - 1]) / (rate - rates[i - 1])
            return float(values[i - 1] ** (1.0 - share) * values[i] ** share)
    return None
