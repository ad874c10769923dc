"""Noise paths: how data turns into noise over time, ``a_t = alpha(t) a_0 + sigma(t) eps`` with alpha falling, sigma rising, and t = 0 the data.

Everything a solver, a training or a contraction penalty asks of a path is here; the paths themselves are in :mod:`cdp.diffusion.schedule` and
:mod:`cdp.diffusion.paths`. Functions of time take a float, a numpy array or a torch tensor and give back the same kind; unless they say otherwise
they want ``0 < t <= t_max``, since sigma is 0 at t = 0.

With a denoiser ``x0_hat(a_t, t)``, an estimate of ``E[a_0 | a_t]``, and ``eps_hat = (a_t - alpha x0_hat) / sigma``, the probability-flow ODE is
``da/dt = alpha'(t) x0_hat + sigma'(t) eps_hat`` (Albergo et al., arXiv 2303.08797; equation 13 of Song et al., arXiv 2011.13456, for the VP paths).
Sampling runs it from ``t_max`` down to 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.diffusion.arrays import call, constant_like


class NoisePath(ABC):
    """Weights of data and noise over time, their rates, and the grids that samplers walk on."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """Name of the path in a configuration."""

    @property
    @abstractmethod
    def t_max(self) -> float:
        """Where sampling starts."""

    @property
    @abstractmethod
    def t_min(self) -> float:
        """Lowest time that training draws."""

    @property
    @abstractmethod
    def grid(self) -> str:
        """Spacing of the sampler's times, in a word."""

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the state that sampling starts from, at ``t_max``."""
        return 1.0

    @property
    def standardises(self) -> bool:
        """Whether a network needs its state and time brought to unit size: :func:`cdp.diffusion.prediction.standardised`."""
        return False

    @abstractmethod
    def alpha(self, t: Any) -> Any:
        """Weight of the data, 1 at t = 0."""

    @abstractmethod
    def sigma(self, t: Any) -> Any:
        """Weight of the noise, 0 at t = 0."""

    @abstractmethod
    def alpha_dt(self, t: Any) -> Any:
        """``d alpha / dt``."""

    @abstractmethod
    def sigma_dt(self, t: Any) -> Any:
        """``d sigma / dt``."""

    @abstractmethod
    def time_of_log_snr(self, log_snr: Any) -> Any:
        """Inverse of :meth:`log_snr`."""

    @abstractmethod
    def time_grid(self, steps: int, start: float | None = None) -> NDArray[np.float64]:
        """Times (steps + 1,) descending from ``start`` (``t_max`` where it is not given) to exactly 0.

        A grid goes on as it began: ``steps - k`` steps from its time k are its last ones. Raises ValueError unless ``steps >= 1`` and ``start`` lies
        on the path.
        """

    def dlog_alpha_dt(self, t: Any) -> Any:
        """``f = d ln(alpha) / dt``, never positive."""
        return self.alpha_dt(t) / self.alpha(t)

    def dlog_sigma_dt(self, t: Any) -> Any:
        """``d ln(sigma) / dt``, positive."""
        return self.sigma_dt(t) / self.sigma(t)

    def log_snr(self, t: Any) -> Any:
        """Half the log signal-to-noise ratio, ``lambda = ln(alpha / sigma)``; decreasing in t."""
        return call("log", self.alpha(t) / self.sigma(t))

    def diffusion_squared(self, t: Any) -> Any:
        """``g^2 = 2 sigma^2 (d ln(sigma)/dt - d ln(alpha)/dt)`` of the forward SDE ``da = f a dt + g dW`` with these marginals; wants alpha > 0."""
        return 2.0 * self.sigma(t) * (self.sigma_dt(t) - self.sigma(t) * self.dlog_alpha_dt(t))

    def size(self, t: Any) -> Any:
        """``sqrt(alpha^2 + sigma^2)``: divided by it, the state of data of unit variance has unit variance too. Holds at t = 0."""
        return call("sqrt", self.alpha(t) ** 2 + self.sigma(t) ** 2)

    def contraction_limit(self, t: Any) -> Any:
        """``sigma' / (alpha sigma' - alpha' sigma)``: sampling contracts in every direction where ``lambda_max(sym J_x0)`` is below.

        The ODE's right-hand side is ``F = (sigma'/sigma) a + (alpha' - alpha sigma'/sigma) x0_hat(a)``; run backwards it contracts where
        ``lambda_max(sym(-J_F)) < 0``, and the factor of J_x0 in ``-J_F`` is positive. It is alpha on a variance-preserving path, 1 on EDM's and on
        the flow-matching path.
        """
        rise, fall = self.sigma_dt(t), self.alpha_dt(t)
        return rise / (self.alpha(t) * rise - fall * self.sigma(t))

    def training_time(self, uniform: Any, end: float | None = None) -> Any:
        """Time to train at for a uniform draw from [0, 1], of the whole path or of its part up to the time ``end``."""
        return self.t_min + uniform * ((self.t_max if end is None else end) - self.t_min)

    def window_end(self, bound: float) -> float:
        """Last time of the part of the path up to ``bound`` in (0, 1], in the time that a network is told: here the path's own, at most ``t_max``."""
        return min(bound, self.t_max)

    def noised(self, clean: Any, noise: Any, t: float) -> Any:
        """``alpha(t) clean + sigma(t) noise`` for one time t: the state of a warm start from the sample ``clean``."""
        return self.alpha(t) * clean + self.sigma(t) * noise

    def _checked_start(self, steps: int, start: float | None, low: float = 0.0) -> float:
        """The start of a grid; ``low`` is what several steps need to stay above."""
        if steps < 1:
            raise ValueError(f"a sampler needs at least 1 step, not {steps}")
        start = self.t_max if start is None else float(start)
        low = low if steps > 1 else 0.0
        if not low < start <= self.t_max:
            raise ValueError(f"a sampler of {steps} steps starts in ({low}, {self.t_max}], not at {start}")
        return start


class VariancePreserving(NoisePath):
    """A path with ``alpha^2 + sigma^2 = 1``: what is left to say is ``d ln(alpha) / dt``."""

    @abstractmethod
    def dlog_alpha_dt(self, t: Any) -> Any:
        """``f = d ln(alpha) / dt``, negative."""

    def alpha_dt(self, t: Any) -> Any:
        """``d alpha / dt``."""
        return self.alpha(t) * self.dlog_alpha_dt(t)

    def sigma_dt(self, t: Any) -> Any:
        """``d sigma / dt = -alpha alpha' / sigma``; grows beyond all bounds towards t = 0."""
        return -self.dlog_alpha_dt(t) * self.alpha(t) ** 2 / self.sigma(t)

    def dlog_sigma_dt(self, t: Any) -> Any:
        """``d ln(sigma) / dt = -f alpha^2 / sigma^2``; grows beyond all bounds towards t = 0."""
        return -self.dlog_alpha_dt(t) * (self.alpha(t) / self.sigma(t)) ** 2

    def size(self, t: Any) -> Any:
        """1."""
        return constant_like(t, 1.0)

    def contraction_limit(self, t: Any) -> Any:
        """``alpha(t)``: the general limit with ``sigma' = -alpha alpha' / sigma`` put in; holds at t = 0 too."""
        return self.alpha(t)

    def _grid(self, spacing: str, steps: int, start: float | None) -> NDArray[np.float64]:
        if spacing != "logsnr":
            return power_grid(self._checked_start(steps, start), steps, 2.0 if spacing == "quadratic" else 1.0)
        start = self._checked_start(steps, start, low=self.t_min)
        if steps == 1:
            return np.array([start, 0.0])
        inner = self.time_of_log_snr(np.linspace(self.log_snr(start), self.log_snr(self.t_min), steps))
        inner[0] = start
        return np.append(inner, 0.0)


def power_grid(start: float, steps: int, power: float) -> NDArray[np.float64]:
    """``start (1 - i/steps)^power`` for i = 0 ... steps."""
    times: NDArray[np.float64] = start * np.linspace(1.0, 0.0, steps + 1) ** power
    return times
