"""Denoisers whose network predicts the noise or v, seen from outside as x0 denoisers."""

from __future__ import annotations

from torch import Tensor, nn

from cdp.diffusion.conversions import coefficients, eps_to_x0, v_to_x0
from cdp.diffusion.schedule import Schedule


class ConvertedDenoiser(nn.Module):
    """x0 denoiser around a ``network`` that predicts ``eps`` or ``v``, so that sampler, penalties, export and robot see x0 alone.

    The Jacobian of x0 then has its share of the noisy action itself: ``(I - sigma J_eps) / alpha`` or ``alpha I - sigma J_v``. The former grows
    without bound where alpha vanishes, and so do the errors of x0: give a network that predicts eps a lower ``schedule.t_max`` when the sampler has
    few steps. Times beyond ``t_max``, which no sampler visits, are converted as ``t_max``.
    """

    def __init__(self, network: nn.Module, prediction: str, schedule: Schedule) -> None:
        super().__init__()
        if prediction not in ("eps", "v"):
            raise ValueError(f"prediction {prediction!r} needs no conversion, or is not one of 'eps', 'v'")
        self.network = network
        self.prediction = prediction
        self.schedule = schedule

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Noisy chunk (B, T, D), times (B,), condition (B, C) -> x0 (B, T, D)."""
        predicted = self.network(x, t, cond)
        alpha, sigma = coefficients(self.schedule, t.clamp(max=self.schedule.t_max), x)
        x0: Tensor = (eps_to_x0 if self.prediction == "eps" else v_to_x0)(x, predicted, alpha, sigma)
        return x0
