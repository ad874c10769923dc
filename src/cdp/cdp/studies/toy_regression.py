"""The two-step regression policy: a control without noise at the start."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import times_like

_REFINEMENT_LOG_SNR = math.log(9.0)


def regression_loss(
    denoise: ConditionalDenoise, chunk: Tensor, cond: Tensor, schedule: NoisePath, weighting: str, generator: torch.Generator
) -> Tensor:
    """Loss of the two-step regression policy of :func:`regression_action`; the arguments are those of ``diffusion_loss``.

    Squared error of both predictions: from nothing, and from a lightly noised expert action.
    """
    t = refinement_time(schedule)
    near = times_like(chunk, t)
    alpha, sigma = coefficients(schedule, near, chunk)
    first = denoise(torch.zeros_like(chunk), times_like(chunk, schedule.t_max), cond)
    second = denoise(alpha * chunk + sigma * torch.randn(chunk.shape, generator=generator), near, cond)
    return (first - chunk).square().mean() + (second - chunk).square().mean()


def regression_action(denoise: ConditionalDenoise, shape: tuple[int, ...], cond: Tensor, schedule: NoisePath) -> Tensor:
    """Actions (B, T, D) of the two-step regression policy: the mean action for the state, then one refinement of it, with no noise in either.

    Our definition, after the minimal iterative policy of arXiv 2512.01809: the refinement looks at ``alpha a`` at the time where signal and noise
    stand 9 to 1.
    """
    near = refinement_time(schedule)
    first = denoise(torch.zeros(shape), cond.new_full((len(cond),), schedule.t_max), cond)
    return denoise(schedule.alpha(near) * first, times_like(first, near), cond)


def refinement_time(schedule: NoisePath) -> float:
    """Where ``alpha / sigma`` is 9."""
    return float(schedule.time_of_log_snr(_REFINEMENT_LOG_SNR))
