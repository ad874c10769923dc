"""Noise paths beside the VP cosine one, and the union of them that a configuration chooses from by ``kind``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.config import ConfigError, chosen_by_kind, from_mapping, setting
from cdp.diffusion.arrays import call, constant_like
from cdp.diffusion.path import NoisePath, VariancePreserving, power_grid
from cdp.diffusion.schedule import GRIDS, Schedule


@dataclass(frozen=True)
class VPLinear(VariancePreserving):
    """VP path with a linear noise rate, ``d ln(alpha)/dt = -beta(t)/2`` and ``beta(t) = beta_min + t (beta_max - beta_min)``.

    The continuous form of DDPM (Song et al., arXiv 2011.13456, equation 32).
    """

    beta_min: float = setting(0.1, low=1e-4, high=10.0, help="rate at the data")
    beta_max: float = setting(20.0, low=1.0, high=100.0, help="rate at the noise")
    t_max: float = setting(1.0, low=0.5, high=1.0, help="where sampling starts")
    t_min: float = setting(1e-3, low=1e-5, high=0.1, help="lowest time that training draws")
    grid: str = setting("uniform", choices=GRIDS, help="spacing of the sampler's times")
    kind: str = setting("vp_linear", choices=("vp_linear",), help="the noise path")

    def __post_init__(self) -> None:
        if self.beta_max < self.beta_min:
            raise ConfigError(f"beta_max: {self.beta_max} is below beta_min, {self.beta_min}")

    def alpha(self, t: Any) -> Any:
        """``exp(-t^2 (beta_max - beta_min)/4 - t beta_min/2)``."""
        return call("exp", self._log_alpha(t))

    def sigma(self, t: Any) -> Any:
        """``sqrt(1 - alpha^2)``, without loss of digits near t = 0."""
        return call("sqrt", -call("expm1", 2.0 * self._log_alpha(t)))

    def dlog_alpha_dt(self, t: Any) -> Any:
        """``-beta(t) / 2``."""
        return -0.5 * (self.beta_min + (self.beta_max - self.beta_min) * t)

    def time_of_log_snr(self, log_snr: Any) -> Any:
        """Inverse of :meth:`log_snr`: the positive root of ``-ln(alpha) = (beta_max - beta_min) t^2/4 + beta_min t/2``."""
        loss = 0.5 * call("log1p", call("exp", -2.0 * log_snr))
        half = 0.5 * self.beta_min
        return 2.0 * loss / (half + call("sqrt", half**2 + (self.beta_max - self.beta_min) * loss))

    def time_grid(self, steps: int, start: float | None = None) -> NDArray[np.float64]:
        """As :meth:`Schedule.time_grid`; ``uniform`` and ``quadratic`` are in t here."""
        return self._grid(self.grid, steps, start)

    def _log_alpha(self, t: Any) -> Any:
        return -t * (0.25 * (self.beta_max - self.beta_min) * t + 0.5 * self.beta_min)


@dataclass(frozen=True)
class EDM(NoisePath):
    """Path of Karras et al. (arXiv 2206.00364): ``alpha = 1``, ``sigma = t``. Time is the noise's standard deviation, in normalised actions."""

    sigma_max: float = setting(80.0, low=1.0, high=1000.0, help="noise that sampling starts from; far above the data's own spread")
    sigma_min: float = setting(0.002, low=1e-6, high=0.1, help="last noise above 0 on the sampler's grid, lowest that training draws")
    rho: float = setting(7.0, low=1.0, high=20.0, help="the grid is uniform in sigma^(1/rho): larger spends more steps near the data")
    kind: str = setting("edm", choices=("edm",), help="the noise path")

    @property
    def t_max(self) -> float:
        """``sigma_max``."""
        return self.sigma_max

    @property
    def t_min(self) -> float:
        """``sigma_min``."""
        return self.sigma_min

    @property
    def grid(self) -> str:
        """``sigma^(1/rho)``: the grid is uniform in it."""
        return f"sigma^(1/{self.rho:g})"

    @property
    def noise_scale(self) -> float:
        """``sigma_max``: the data are lost in the noise, not scaled away."""
        return self.sigma_max

    @property
    def standardises(self) -> bool:
        """True: states and times reach ``sigma_max``."""
        return True

    def alpha(self, t: Any) -> Any:
        """1."""
        return constant_like(t, 1.0)

    def sigma(self, t: Any) -> Any:
        """t."""
        return t

    def alpha_dt(self, t: Any) -> Any:
        """0."""
        return constant_like(t, 0.0)

    def sigma_dt(self, t: Any) -> Any:
        """1."""
        return constant_like(t, 1.0)

    def time_of_log_snr(self, log_snr: Any) -> Any:
        """``exp(-lambda)``."""
        return call("exp", -log_snr)

    def training_time(self, uniform: Any, end: float | None = None) -> Any:
        """The grid's own spacing: as many draws in a stretch of noise levels as the sampler makes steps there."""
        high, low = (self.sigma_max if end is None else end) ** (1.0 / self.rho), self.sigma_min ** (1.0 / self.rho)
        return (low + uniform * (high - low)) ** self.rho

    def window_end(self, bound: float) -> float:
        """``tan(bound pi/2)``, at most ``sigma_max``: a standardised network is told the angle ``atan(sigma)`` as a fraction of a right one."""
        return min(math.tan(0.5 * math.pi * bound), self.sigma_max)

    def time_grid(self, steps: int, start: float | None = None) -> NDArray[np.float64]:
        """Equation 5 of the paper: ``steps`` noise levels from ``start`` to ``sigma_min``, uniform in ``sigma^(1/rho)``, then 0.

        Raises ValueError unless ``steps >= 1`` and ``start`` lies on the path, above ``sigma_min`` for more than one step.
        """
        start = self._checked_start(steps, start, low=self.sigma_min)
        if steps == 1:
            return np.array([start, 0.0])
        roots = np.linspace(start ** (1.0 / self.rho), self.sigma_min ** (1.0 / self.rho), steps)
        inner = roots**self.rho
        inner[0] = start
        return np.append(inner, 0.0)


@dataclass(frozen=True)
class FlowMatching(NoisePath):
    """The straight path of flow matching (Lipman et al., arXiv 2210.02747; rectified flow, arXiv 2209.03003): ``alpha = 1 - t``, ``sigma = t``."""

    t_max: float = setting(1.0, low=0.5, high=1.0, help="where sampling starts; below 1 for a network that predicts the noise")
    t_min: float = setting(1e-3, low=1e-5, high=0.1, help="lowest time that training draws")
    grid: str = setting("uniform", choices=("uniform", "quadratic"), help="spacing of the sampler's times")
    kind: str = setting("flow", choices=("flow",), help="the noise path")

    @property
    def noise_scale(self) -> float:
        """``t_max``, the noise's share of the state there."""
        return self.t_max

    def alpha(self, t: Any) -> Any:
        """``1 - t``."""
        return 1.0 - t

    def sigma(self, t: Any) -> Any:
        """t."""
        return t

    def alpha_dt(self, t: Any) -> Any:
        """-1."""
        return constant_like(t, -1.0)

    def sigma_dt(self, t: Any) -> Any:
        """1."""
        return constant_like(t, 1.0)

    def time_of_log_snr(self, log_snr: Any) -> Any:
        """``1 / (1 + exp(lambda))``."""
        return 1.0 / (1.0 + call("exp", log_snr))

    def time_grid(self, steps: int, start: float | None = None) -> NDArray[np.float64]:
        """Times (steps + 1,) from ``start`` to 0, ``uniform`` or, with more steps near the data, ``quadratic`` in t.

        Raises ValueError unless ``steps >= 1`` and ``start`` lies on the path.
        """
        return power_grid(self._checked_start(steps, start), steps, 2.0 if self.grid == "quadratic" else 1.0)


#: A configuration's noise path; without a ``kind`` it is the VP cosine one.
PathConfig = Schedule | VPLinear | EDM | FlowMatching

PATHS: dict[str, type[PathConfig]] = {"vp_cosine": Schedule, "vp_linear": VPLinear, "edm": EDM, "flow": FlowMatching}


def path_from_mapping(data: Mapping[str, Any], where: str = "") -> PathConfig:
    """The path that ``data["kind"]`` names, built from the other keys. Raises ConfigError, ``where`` leading the key in its message."""
    return from_mapping(chosen_by_kind(tuple(PATHS.values()), data, where), data, where)
