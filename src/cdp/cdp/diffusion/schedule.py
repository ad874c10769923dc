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
from cdp.diffusion.arrays import call
from cdp.diffusion.path import VariancePreserving

GRIDS = ("uniform", "quadratic", "logsnr")


@dataclass(frozen=True)
class Schedule(VariancePreserving):
    """VP cosine schedule, ``alpha(t) = cos(u(t)) / cos(u(0))`` with ``u(t) = pi/2 (t + offset) / (1 + offset)``."""

    offset: float = setting(0.008, low=1e-4, high=0.1, help="s of the cosine schedule: keeps sigma from vanishing too fast near t = 0")
    t_max: float = setting(0.9946, low=0.5, high=0.9999, help="where sampling starts; below 1 so that alpha stays positive")
    t_min: float = setting(1e-3, low=1e-5, high=0.1, help="lowest time that training draws")
    grid: str = setting("uniform", choices=GRIDS, help="spacing of the sampler's times")
    kind: str = setting("vp_cosine", choices=("vp_cosine",), help="the noise path")

    def alpha(self, t: Any) -> Any:
        """Weight of the data at time t, 1 at t = 0."""
        return call("cos", self._angle(t)) / math.cos(self._angle(0.0))

    def sigma(self, t: Any) -> Any:
        """Weight of the noise at time t, 0 at t = 0.

        ``sigma^2 = sin(u - u0) sin(u + u0) / cos^2 u0``, which loses no digits near t = 0 where ``sqrt(1 - alpha^2)`` would.
        """
        u, u0 = self._angle(t), self._angle(0.0)
        return call("sqrt", call("sin", u - u0) * call("sin", u + u0)) / math.cos(u0)

    def dlog_alpha_dt(self, t: Any) -> Any:
        """``f = d ln(alpha) / dt``, negative."""
        return -call("tan", self._angle(t)) * (0.5 * math.pi / (1.0 + self.offset))

    def time_of_log_snr(self, log_snr: Any) -> Any:
        """Inverse of :meth:`log_snr`."""
        u0 = self._angle(0.0)
        alpha = 1.0 / call("sqrt", 1.0 + call("exp", -2.0 * log_snr))
        u = call("arccos", alpha * math.cos(u0))
        return u * (2.0 / math.pi) * (1.0 + self.offset) - self.offset

    def time_grid(self, steps: int, start: float | None = None) -> NDArray[np.float64]:
        """Times (steps + 1,) descending from ``start`` (``t_max`` where it is not given) to exactly 0.

        ``uniform`` turns the angle of (alpha, sigma) by equal amounts; ``quadratic`` spends more steps near the data; ``logsnr`` is uniform in the
        log signal-to-noise ratio down to ``t_min``, as DPM-Solver++ proposes, and wants ten steps or more.
        Raises ValueError unless ``steps >= 1`` and ``start`` lies on the path.
        """
        return self._grid(self.grid, steps, start)

    def _angle(self, t: Any) -> Any:
        return (t + self.offset) * (0.5 * math.pi / (1.0 + self.offset))
