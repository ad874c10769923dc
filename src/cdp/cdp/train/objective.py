"""The denoising loss."""

from __future__ import annotations

import torch
from torch import Tensor

from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.schedule import Schedule

SNR_RANGE = (0.1, 5.0)


def diffusion_loss(
    denoise: ConditionalDenoise, chunk: Tensor, cond: Tensor, schedule: Schedule, weighting: str, generator: torch.Generator
) -> Tensor:
    """Mean weighted squared x0 error over chunks (B, T, D), conditions (B, C), uniform times and normal noise; a scalar.

    ``min_snr`` weights by the clipped signal-to-noise ratio (arXiv 2303.09556); its floor keeps the pure-noise end alive, where sampling starts.
    """
    t = torch.rand(len(chunk), generator=generator).to(chunk.device) * (schedule.t_max - schedule.t_min) + schedule.t_min
    alpha, sigma = coefficients(schedule, t, chunk)
    noise = torch.randn(chunk.shape, generator=generator).to(chunk.device)
    error = (denoise(alpha * chunk + sigma * noise, t, cond) - chunk).square().flatten(1).mean(dim=1)
    if weighting == "min_snr":
        error = error * (schedule.alpha(t) / schedule.sigma(t)).square().clamp(*SNR_RANGE)
    return error.mean()
