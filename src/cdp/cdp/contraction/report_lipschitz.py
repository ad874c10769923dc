"""How far the whole sampler brings two starting points apart: ``|Phi(x) - Phi(y)| / |x - y|``, Euclidean, in normalised actions."""

from __future__ import annotations

import torch
from torch import Tensor

from cdp.contraction.estimators import Map, jvp, lanczos_extremes, random_direction, vjp

LANCZOS_STEPS = 8


def pair_distance(like: Tensor) -> float:
    """Distance of a tiny pair: far above what rounding does to a difference of two samples, even where the sampler shrinks it a thousandfold."""
    return 1e-3 if like.dtype == torch.float64 else 0.05


def tiny_pair_ratios(phi: Map, x: Tensor, generator: torch.Generator) -> Tensor:
    """Ratios (B,) of pairs a :func:`pair_distance` apart around ``x`` (B, ...) in a random direction each."""
    moved = jvp(phi, x, random_direction(x, generator), 0.5 * pair_distance(x))
    ratios: Tensor = moved.flatten(1).square().sum(dim=1).sqrt()
    return ratios


def independent_pair_ratios(actions: Tensor, noise: Tensor) -> Tensor:
    """Ratios (N * (S // 2),) of pairs of independent starting points ``noise`` (N, S, ...) of one observation, sampled to ``actions`` (N, S, ...).

    Seed 2 i is paired with 2 i + 1. Pairs that start in one point, as all do at temperature 0, have no ratio and are left out.
    """
    drawn, sampled = (
        torch.linalg.vector_norm((values[:, 0::2][:, : values.shape[1] // 2] - values[:, 1::2]).flatten(2), dim=2).flatten()
        for values in (noise, actions)
    )
    differ = drawn > 0.0
    ratios: Tensor = sampled[differ] / drawn[differ]
    return ratios


def sigma_max(fn: Map, x: Tensor, generator: torch.Generator) -> Tensor:
    """Largest singular value (B,) of the Jacobian of the sample-wise map ``fn`` at ``x`` (B, ...), the most that it expands a tiny difference.

    Lanczos on ``J^T J``: power iteration that keeps every direction it met; a lower bound, exact once :data:`LANCZOS_STEPS` reaches the dimension.
    """
    delta = 0.5 * pair_distance(x)
    _, largest = lanczos_extremes(lambda v: vjp(fn, x, jvp(fn, x, v, delta)), random_direction(x, generator), LANCZOS_STEPS)
    values: Tensor = largest.clamp_min(0.0).sqrt()
    return values
