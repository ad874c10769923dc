"""What a network predicts: its training target, and the wrapper that makes an x0 denoiser of it. Everything after training sees x0 alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cdp.diffusion.arrays import call
from cdp.diffusion.conversions import coefficients, eps_to_x0, flow_to_x0, rates, v_to_x0
from cdp.diffusion.path import NoisePath

#: ``eps`` the noise, ``v = alpha eps - sigma x0``, ``flow`` the probability flow's velocity ``alpha' x0 + sigma' eps``.
PREDICTIONS = ("x0", "eps", "v", "flow")

#: ``network(x (B, ...), t (B,), *condition) -> (B, ...)``
Network = Callable[..., Any]


def target(prediction: str, clean: Any, noise: Any, t: Any, path: NoisePath) -> Any:
    """What the network has to predict for ``a_t = alpha clean + sigma noise`` (B, ...) at times t (B,).

    Raises ValueError for an unknown prediction.
    """
    _check(prediction)
    if prediction == "x0":
        return clean
    if prediction == "eps":
        return noise
    if prediction == "v":
        alpha, sigma = coefficients(path, t, clean)
        return alpha * noise - sigma * clean
    alpha_dt, sigma_dt = rates(path, t, clean)
    return alpha_dt * clean + sigma_dt * noise


def as_x0(network: Network, prediction: str, path: NoisePath) -> Network:
    """An x0 denoiser with the network's own arguments, (x, t, *condition).

    Raises ValueError for an unknown prediction, and for ``eps`` on a path whose alpha reaches 0, where the noise says nothing of the data.
    """
    _check(prediction)
    if prediction == "x0":
        return network
    if prediction == "eps" and path.alpha(path.t_max) <= 0.0:
        raise ValueError(f"a network that predicts eps has no x0 at t = {path.t_max} of {path.kind}, where alpha is 0; start sampling below (t_max)")

    def denoise(x: Any, t: Any, *condition: Any) -> Any:
        predicted = network(x, t, *condition)
        alpha, sigma = coefficients(path, t, x)
        if prediction == "eps":
            return eps_to_x0(x, predicted, alpha, sigma)
        if prediction == "v":
            return v_to_x0(x, predicted, alpha, sigma)
        return flow_to_x0(x, predicted, alpha, sigma, *rates(path, t, x))

    return denoise


def standardised(network: Network, path: NoisePath, prediction: str = "x0") -> Network:
    """The network on inputs of about unit size and times in [0, 1], whatever the path's own: EDM's reach 80.

    Divided by ``sqrt(alpha^2 + sigma^2)`` every path is a variance-preserving one, at the angle ``atan(sigma / alpha)``; the network sees that state
    and the angle as a fraction of a right one. What it predicts is left as it is, but for ``v``: that is the one of the standardised state, of unit
    size too. On EDM's path that is, but for the sign and the network's time, the preconditioning of arXiv 2206.00364 (table 1) for unit variance.
    """

    def scaled(x: Any, t: Any, *condition: Any) -> Any:
        alpha, sigma, size = path.alpha(t), path.sigma(t), path.size(t)
        # The half angle has no division by an alpha of 0.
        angle = (4.0 / math.pi) * call("arctan", sigma / (alpha + size))
        wide = size.reshape((-1,) + (1,) * (x.ndim - 1))
        predicted = network(x / wide, angle, *condition)
        return wide * predicted if prediction == "v" else predicted

    return scaled


def _check(prediction: str) -> None:
    if prediction not in PREDICTIONS:
        raise ValueError(f"prediction {prediction!r} is not one of {', '.join(PREDICTIONS)}")
