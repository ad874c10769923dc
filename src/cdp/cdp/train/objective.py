"""The denoising loss."""

from __future__ import annotations

import torch
from torch import Tensor

from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.schedule import Schedule
from cdp.shares import draw

SNR_RANGE = (0.1, 5.0)


def error_weight(alpha: Tensor, sigma: Tensor, weighting: str, prediction: str) -> Tensor:
    """Weight of the squared x0 error where data weigh ``alpha`` and noise ``sigma``, for a network that predicts ``prediction``.

    ``uniform`` is the squared error of what the network itself predicts: SNR (``alpha^2 / sigma^2``) times the x0 error for eps, ``1 / sigma^2``
    times it for v. ``min_snr`` is the signal-to-noise ratio clipped to :data:`SNR_RANGE` (arXiv 2303.09556), the same objective for every prediction;
    its floor keeps the pure-noise end alive, where sampling starts, and falls away for eps, whose own error it would weight beyond all bounds there.
    """
    snr = (alpha / sigma).square()
    if weighting == "min_snr":
        low, high = SNR_RANGE
        return snr.clamp(0.0 if prediction == "eps" else low, high)
    if prediction == "eps":
        return snr
    return sigma.square().reciprocal() if prediction == "v" else torch.ones_like(snr)


def diffusion_loss(
    denoise: ConditionalDenoise,
    chunk: Tensor,
    cond: Tensor,
    schedule: Schedule,
    weighting: str,
    generator: torch.Generator,
    prediction: str = "x0",
) -> Tensor:
    """Mean weighted squared x0 error over chunks (B, T, D), conditions (B, C), uniform times and normal noise; a scalar.

    ``denoise`` gives x0 whatever its network predicts; ``prediction`` says what that is, for :func:`error_weight`.
    """
    t = draw(torch.rand, (len(chunk),), generator).to(chunk.device) * (schedule.t_max - schedule.t_min) + schedule.t_min
    alpha, sigma = coefficients(schedule, t, chunk)
    noise = draw(torch.randn, chunk.shape, generator).to(chunk.device)
    error = (denoise(alpha * chunk + sigma * noise, t, cond) - chunk).square().flatten(1).mean(dim=1)
    return (error * error_weight(alpha.flatten(), sigma.flatten(), weighting, prediction)).mean()
