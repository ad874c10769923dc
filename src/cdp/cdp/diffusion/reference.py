"""The probability-flow ODE solved to a tolerance, for measuring the error of the samplers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.diffusion.arrays import array_like, times_like
from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import Denoise

#: Angle, or sigma / alpha, below which the state is taken as x0: for smooth data an error of the order of its square.
SIGMA_END = 1e-4


def solve_reference(denoise: Denoise, x: Any, path: NoisePath, start: float, end: float = 0.0, rtol: float = 1e-9, atol: float = 1e-9) -> Any:
    """The state (B, ...) at time ``end`` of the flow that is in ``x`` (B, ...) at ``start > end``, by Runge-Kutta 4(5) with adaptive steps.

    It integrates over the angle ``theta = atan(sigma / alpha)``: with ``y = a / sqrt(alpha^2 + sigma^2)`` the ODE is
    ``dy/dtheta = cos(theta) eps_hat - sin(theta) x0_hat`` on every path, which stays bounded towards the data and uses no derivative of the path.
    The batch is one system in double precision; a denoiser in single precision wants tolerances of 1e-5 or more.
    Raises ValueError for times out of order, RuntimeError where the integration gives up.
    """
    # Only measurements solve to a tolerance; the robot's runtime imports the samplers without scipy.
    from scipy.integrate import solve_ivp

    if not 0.0 <= end < start <= path.t_max:
        raise ValueError(f"the flow is solved from a start down to an end in [0, {path.t_max}], not from {start} to {end}")

    def right_hand_side(theta: float, flat: NDArray[np.float64]) -> NDArray[np.float64]:
        t = path.time_of_log_snr(-math.log(math.tan(theta)))
        size = math.hypot(path.alpha(t), path.sigma(t))
        state = flat.reshape(x.shape)
        x0 = _to_numpy(denoise(array_like(size * state, x), times_like(x, t)))
        eps = (size * state - path.alpha(t) * x0) / path.sigma(t)
        return np.asarray((path.alpha(t) * eps - path.sigma(t) * x0) / size).ravel()

    size = math.hypot(path.alpha(start), path.sigma(start))
    # Decided on the angles: the time got back from one is off by a rounding error, and not always to the same side.
    to_data = _angle(path, end) < SIGMA_END
    angles = _angle(path, start), SIGMA_END if to_data else _angle(path, end)
    solved = solve_ivp(right_hand_side, angles, _to_numpy(x).ravel() / size, method="RK45", rtol=rtol, atol=atol)
    if not solved.success:
        raise RuntimeError(f"the reference solver gave up: {solved.message}")
    last = path.time_of_log_snr(-math.log(math.tan(SIGMA_END))) if to_data else end
    state = array_like(solved.y[:, -1].reshape(x.shape) * math.hypot(path.alpha(last), path.sigma(last)), x)
    return denoise(state, times_like(x, last)) if to_data else state


def _angle(path: NoisePath, t: float) -> float:
    return math.atan2(path.sigma(t), path.alpha(t))


def _to_numpy(x: Any) -> NDArray[np.float64]:
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, dtype=np.float64)
