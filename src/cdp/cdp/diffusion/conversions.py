"""The things a denoiser can predict, converted into one another along any noise path ``a_t = alpha a_0 + sigma eps``.

Every function takes the noisy action and ``alpha``, ``sigma`` that broadcast against it; floats, numpy arrays and torch tensors alike. Where one
divides by alpha or sigma, it wants that to be positive: eps says nothing of the data where alpha is 0, x0 nothing of the noise where sigma is 0.
"""

from __future__ import annotations

from typing import Any

from cdp.diffusion.path import NoisePath


def coefficients(schedule: NoisePath, t: Any, noisy: Any) -> tuple[Any, Any]:
    """``alpha(t)``, ``sigma(t)`` of times (B,), shaped (B, 1, ...) to broadcast against ``noisy`` (B, ...)."""
    shape = (-1,) + (1,) * (noisy.ndim - 1)
    return schedule.alpha(t).reshape(shape), schedule.sigma(t).reshape(shape)


def rates(path: NoisePath, t: Any, noisy: Any) -> tuple[Any, Any]:
    """``alpha'(t)``, ``sigma'(t)`` of times (B,), shaped (B, 1, ...) to broadcast against ``noisy`` (B, ...)."""
    shape = (-1,) + (1,) * (noisy.ndim - 1)
    return path.alpha_dt(t).reshape(shape), path.sigma_dt(t).reshape(shape)


def x0_to_eps(noisy: Any, x0: Any, alpha: Any, sigma: Any) -> Any:
    """``eps = (a_t - alpha x0) / sigma``."""
    return (noisy - alpha * x0) / sigma


def eps_to_x0(noisy: Any, eps: Any, alpha: Any, sigma: Any) -> Any:
    """``x0 = (a_t - sigma eps) / alpha``."""
    return (noisy - sigma * eps) / alpha


def eps_to_score(eps: Any, sigma: Any) -> Any:
    """``score = -eps / sigma``."""
    return -eps / sigma


def score_to_x0(noisy: Any, score: Any, alpha: Any, sigma: Any) -> Any:
    """Tweedie: ``x0 = (a_t + sigma^2 score) / alpha``."""
    return (noisy + sigma**2 * score) / alpha


def x0_to_score(noisy: Any, x0: Any, alpha: Any, sigma: Any) -> Any:
    """``score = (alpha x0 - a_t) / sigma^2``."""
    return (alpha * x0 - noisy) / sigma**2


def x0_to_v(noisy: Any, x0: Any, alpha: Any, sigma: Any) -> Any:
    """``v = alpha eps - sigma x0`` (Salimans and Ho, arXiv 2202.00512), on any path."""
    return alpha * x0_to_eps(noisy, x0, alpha, sigma) - sigma * x0


def eps_to_v(noisy: Any, eps: Any, alpha: Any, sigma: Any) -> Any:
    """``v = alpha eps - sigma x0``."""
    return alpha * eps - sigma * eps_to_x0(noisy, eps, alpha, sigma)


def v_to_x0(noisy: Any, v: Any, alpha: Any, sigma: Any) -> Any:
    """``x0 = (alpha a_t - sigma v) / (alpha^2 + sigma^2)``: the map from (x0, eps) to (a_t, v) is a rotation times the root of that."""
    return (alpha * noisy - sigma * v) / (alpha**2 + sigma**2)


def v_to_eps(noisy: Any, v: Any, alpha: Any, sigma: Any) -> Any:
    """``eps = (sigma a_t + alpha v) / (alpha^2 + sigma^2)``."""
    return (sigma * noisy + alpha * v) / (alpha**2 + sigma**2)


def x0_to_flow(noisy: Any, x0: Any, alpha: Any, sigma: Any, alpha_dt: Any, sigma_dt: Any) -> Any:
    """Velocity of the probability flow, ``u = alpha' x0 + sigma' eps``; ``eps - x0`` on the flow-matching path."""
    return alpha_dt * x0 + sigma_dt * x0_to_eps(noisy, x0, alpha, sigma)


def flow_to_x0(noisy: Any, u: Any, alpha: Any, sigma: Any, alpha_dt: Any, sigma_dt: Any) -> Any:
    """``x0 = (sigma' a_t - sigma u) / (alpha sigma' - alpha' sigma)``; the denominator is positive on every path."""
    return (sigma_dt * noisy - sigma * u) / (alpha * sigma_dt - alpha_dt * sigma)


def flow_to_eps(noisy: Any, u: Any, alpha: Any, sigma: Any, alpha_dt: Any, sigma_dt: Any) -> Any:
    """``eps = (alpha u - alpha' a_t) / (alpha sigma' - alpha' sigma)``."""
    return (alpha * u - alpha_dt * noisy) / (alpha * sigma_dt - alpha_dt * sigma)
