"""The denoising loss."""

from __future__ import annotations

import torch
from torch import Tensor

from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.path import NoisePath
from cdp.shares import draw

SNR_RANGE = (0.1, 5.0)


def error_weight(path: NoisePath, t: Tensor, weighting: str, prediction: str) -> Tensor:
    """Weight (B,) of the squared x0 error at times ``t`` (B,) of ``path``, for a network that predicts ``prediction``.

    ``uniform`` is the squared error of what the network itself predicts, :func:`own_error_weight`. ``min_snr`` is the signal-to-noise ratio
    ``alpha^2 / sigma^2`` clipped to :data:`SNR_RANGE` (arXiv 2303.09556), the same objective for every prediction; its floor keeps the pure-noise end
    alive, where sampling starts. It is lowered to the uniform weight where that is less: a network's own error is nowhere weighted more than once for
    the floor, and that of eps, which says nothing of the data in pure noise, not beyond all bounds.
    """
    own = own_error_weight(path, t, prediction)
    if weighting != "min_snr":
        return own
    low, high = SNR_RANGE
    return torch.maximum((path.alpha(t) / path.sigma(t)).square().clamp(max=high), own.clamp(max=low))


def own_error_weight(path: NoisePath, t: Tensor, prediction: str) -> Tensor:
    """The squared error (B,) of a network's own prediction, over that of the x0 it is converted to: the inverse square of d x0 / d prediction.

    ``sigma / alpha`` for eps; ``sigma / (alpha sigma' - alpha' sigma)`` for flow; for v ``sigma / size^2`` with ``size^2 = alpha^2 + sigma^2``, or
    ``sigma / size`` where the network predicts the v of the standardised state (:attr:`NoisePath.standardises`).
    """
    if prediction == "x0":
        return torch.ones_like(t)
    alpha, sigma = path.alpha(t), path.sigma(t)
    if prediction == "eps":
        weight: Tensor = (alpha / sigma).square()
    elif prediction == "v":
        weight = path.size(t) ** (2 if path.standardises else 4) * sigma.square().reciprocal()
    else:
        weight = ((alpha * path.sigma_dt(t) - path.alpha_dt(t) * sigma) / sigma).square()
    return weight


def diffusion_loss(
    denoise: ConditionalDenoise,
    chunk: Tensor,
    cond: Tensor,
    schedule: NoisePath,
    weighting: str,
    generator: torch.Generator,
    prediction: str = "x0",
) -> Tensor:
    """Mean weighted squared x0 error over chunks (B, T, D), conditions (B, C), the path's training times and normal noise; a scalar.

    ``denoise`` gives x0 whatever its network predicts; ``prediction`` says what that is, for :func:`error_weight`.
    """
    t = schedule.training_time(draw(torch.rand, (len(chunk),), generator).to(chunk.device))
    alpha, sigma = coefficients(schedule, t, chunk)
    noise = draw(torch.randn, chunk.shape, generator).to(chunk.device)
    error = (denoise(alpha * chunk + sigma * noise, t, cond) - chunk).square().flatten(1).mean(dim=1)
    return (error * error_weight(schedule, t, weighting, prediction)).mean()
