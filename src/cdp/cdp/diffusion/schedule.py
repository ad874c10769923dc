"""The variance-preserving cosine schedule (Nichol and Dhariwal, arXiv 2102.09672) in continuous time.

A noisy action is ``a_t = alpha(t) a_0 + sigma(t) eps`` with ``alpha^2 + sigma^2 = 1``; t = 0 is data and t = 1 is noise. The functions take a float,
a numpy array or a torch tensor and give back the same kind. This module does not import torch: the robot's runtime has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.config import setting

GRIDS = ("uniform", "quadratic", "logsnr")


@dataclass(frozen=True)
class Schedule:
    """VP cosine schedule, ``alpha(t) = cos(u(t)) / cos(u(0))`` with ``u(t) = pi/2 (t + offset) / (1 + offset)``."""

    offset: float = setting(0.008, low=1e-4, high=0.1, help="s of the cosine schedule: keeps sigma from vanishing too fast near t = 0")
    t_max: float = setting(0.9946, low=0.5, high=0.9999, help="where sampling starts; below 1 so that alpha stays positive")
    t_min: float = setting(1e-3, low=1e-5, high=0.1, help="lowest time that training draws")
    grid: str = setting("uniform", choices=GRIDS, help="spacing of the sampler's times")

    def alpha(self, t: Any) -> Any:
        """Weight of the data at time t, 1 at t = 0."""
        return _call("cos", self._angle(t)) / math.cos(self._angle(0.0))

    def sigma(self, t: Any) -> Any:
        """Weight of the noise at time t, 0 at t = 0.

        ``sigma^2 = sin(u - u0) sin(u + u0) / cos^2 u0``, which loses no digits near t = 0 where ``sqrt(1 - alpha^2)`` would.
        """
        u, u0 = self._angle(t), self._angle(0.0)
        return _call("sqrt", _call("sin", u - u0) * _call("sin", u + u0)) / math.cos(u0)

    def dlog_alpha_dt(self, t: Any) -> Any:
        """``f = d ln(alpha) / dt``, negative."""
        return -_call("tan", self._angle(t)) * (0.5 * math.pi / (1.0 + self.offset))

    def dlog_sigma_dt(self, t: Any) -> Any:
        """``d ln(sigma) / dt = -f alpha^2 / sigma^2``, from ``alpha^2 + sigma^2 = 1``; infinite at t = 0."""
        return -self.dlog_alpha_dt(t) * (self.alpha(t) / self.sigma(t)) ** 2

    def log_snr(self, t: Any) -> Any:
        """Half the log signal-to-noise ratio, ``lambda = ln(alpha / sigma)``; decreasing in t."""
        return _call("log", self.alpha(t) / self.sigma(t))

    def time_of_log_snr(self, log_snr: Any) -> Any:
        """Inverse of :meth:`log_snr`."""
        u0 = self._angle(0.0)
        alpha = 1.0 / _call("sqrt", 1.0 + _call("exp", -2.0 * log_snr))
        u = _call("arccos", alpha * math.cos(u0))
        return u * (2.0 / math.pi) * (1.0 + self.offset) - self.offset

    def time_grid(self, steps: int) -> NDArray[np.float64]:
        """Times (steps + 1,) descending from ``t_max`` to exactly 0.

        ``uniform`` turns the angle of (alpha, sigma) by equal amounts; ``quadratic`` spends more steps near the data; ``logsnr`` is uniform in the
        log signal-to-noise ratio down to ``t_min``, as DPM-Solver++ proposes, and wants ten steps or more.
        Raises ValueError unless ``steps >= 1``.
        """
        if steps < 1:
            raise ValueError(f"a sampler needs at least 1 step, not {steps}")
        if self.grid == "logsnr":
            if steps == 1:
                return np.array([self.t_max, 0.0])
            inner = self.time_of_log_snr(np.linspace(self.log_snr(self.t_max), self.log_snr(self.t_min), steps))
            inner[0] = self.t_max
            return np.append(inner, 0.0)
        power = 2.0 if self.grid == "quadratic" else 1.0
        times: NDArray[np.float64] = self.t_max * np.linspace(1.0, 0.0, steps + 1) ** power
        return times

    def _angle(self, t: Any) -> Any:
        return (t + self.offset) * (0.5 * math.pi / (1.0 + self.offset))


def _call(name: str, value: Any) -> Any:
    """Elementwise function ``name`` of a tensor (a method) or of a float or array (a numpy function); floats stay floats."""
    method = getattr(value, name, None)
    if method is not None:
        return method()
    result = getattr(np, name)(value)
    return float(result) if isinstance(value, float) else result
