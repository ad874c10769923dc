"""A denoiser of one noise path on another: every path is a change of time and of scale.

Dividing ``a_t = alpha a_0 + sigma eps`` by alpha leaves ``a_0 + (sigma / alpha) eps``: what a noisy chunk says of the clean one depends on
``lambda = ln(alpha / sigma)`` alone. With P the denoiser's path and Q the other, ``a`` at time s of Q says what ``k a`` says at the time t of P that
has the same lambda, ``k = sqrt(alpha_P^2 + sigma_P^2) / sqrt(alpha_Q^2 + sigma_Q^2)``; hence ``x0_Q(a, s) = x0_P(k a, t)``.

A step of ``ddim`` is ``a_s / sigma_s = a_t / sigma_t + (e^lambda_s - e^lambda_t) x0``: it knows lambda alone too. What is left of a path is where its
training draws lambda, and where its grid puts the steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.path import NoisePath


def carried(denoise: ConditionalDenoise, source: NoisePath, target: NoisePath) -> ConditionalDenoise:
    """``denoise`` of the path ``source`` as a denoiser on ``target``.

    Where the target is noisier than the source ever is, the source's last time answers, at the standardised state.
    """
    if source.kind == target.kind and source == target:
        return denoise
    last = float(source.log_snr(source.t_max)) if source.alpha(source.t_max) > 0.0 else -math.inf

    def fn(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        own = source.time_of_log_snr(target.log_snr(t).clamp_min(last))
        size = _size(source, own, x) / _size(target, t, x)
        return denoise(size * x, own, cond)

    return fn


def _size(path: NoisePath, t: Tensor, x: Tensor) -> Tensor:
    """``sqrt(alpha^2 + sigma^2)`` of times (B,), shaped to broadcast against ``x`` (B, ...)."""
    alpha, sigma = coefficients(path, t, x)
    return torch.hypot(alpha, sigma)
