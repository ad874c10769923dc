"""Networks seen from outside as x0 denoisers of the path's own states: what they predict converted, what they are given standardised."""

from __future__ import annotations

from torch import Tensor, nn

from cdp.diffusion.path import NoisePath
from cdp.diffusion.prediction import as_x0, standardised


class ConvertedDenoiser(nn.Module):
    """x0 denoiser around a ``network`` that predicts ``prediction``, so that sampler, penalties, export and robot see x0 alone.

    The Jacobian of x0 then has its share of the noisy action itself: ``(I - sigma J_eps) / alpha`` or ``alpha I - sigma J_v`` on a
    variance-preserving path. The former grows without bound where ``sigma / alpha`` does, and so do the errors of x0: give a network that predicts
    eps a lower ``t_max`` or ``sigma_max`` when the sampler has few steps. Times beyond ``t_max``, which no sampler visits, are taken as ``t_max``.

    On a path that asks for it (:attr:`NoisePath.standardises`) the network's inputs are standardised here, whatever it predicts.
    Raises ValueError for an unknown prediction, and for ``eps`` on a path whose alpha reaches 0.
    """

    def __init__(self, network: nn.Module, prediction: str, path: NoisePath) -> None:
        super().__init__()
        as_x0(network, prediction, path)
        self.network = network
        self.prediction = prediction
        self.path = path

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Noisy chunk (B, T, D), times (B,), condition (B, C) -> x0 (B, T, D)."""
        # Bound at each call: a copy of this module has to ask its own network.
        network = standardised(self.network, self.path, self.prediction) if self.path.standardises else self.network
        x0: Tensor = as_x0(network, self.prediction, self.path)(x, t.clamp(max=self.path.t_max), cond)
        return x0
