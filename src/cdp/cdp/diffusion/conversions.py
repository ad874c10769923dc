"""The four things a denoiser can predict, converted into one another (VP process, ``a_t = alpha a_0 + sigma eps``).

Every function takes the noisy action and ``alpha``, ``sigma`` that broadcast against it; floats, numpy arrays and torch tensors alike.
"""

from __future__ import annotations

from typing import Any

from cdp.diffusion.schedule import Schedule


def coefficients(schedule: Schedule, t: Any, noisy: Any) -> tuple[Any, Any]:
    """``alpha(t)``, ``sigma(t)`` of times (B,), shaped (B, 1, ...) to broadcast against ``noisy`` (B, ...)."""
    shape = (-1,) + (1,) * (noisy.ndim - 1)
    return schedule.alpha(t).reshape(shape), schedule.sigma(t).reshape(shape)


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
    """``v = alpha eps - sigma x0`` (Salimans and Ho, arXiv 2202.00512)."""
    return alpha * x0_to_eps(noisy, x0, alpha, sigma) - sigma * x0


def v_to_x0(noisy: Any, v: Any, alpha: Any, sigma: Any) -> Any:
    """``x0 = alpha a_t - sigma v``."""
    return alpha * noisy - sigma * v


def v_to_eps(noisy: Any, v: Any, alpha: Any, sigma: Any) -> Any:
    """``eps = sigma a_t + alpha v``."""
    return sigma * noisy + alpha * v
