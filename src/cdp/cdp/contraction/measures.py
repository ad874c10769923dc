"""The functions of a Jacobian that the penalties are made of, each by the estimator of the configuration."""

from __future__ import annotations

import torch
from torch import Tensor

from cdp.contraction import estimators
from cdp.contraction.config import ContractionConfig
from cdp.contraction.estimators import Map


class Measures:
    """Norms, eigenvalues and singular values (N,) of the Jacobians J of a map at x (N, ...), differentiable.

    ``exact`` takes them from the whole Jacobian, by reverse differentiation whatever ``config.derivative`` is: d times the work of one product.
    """

    def __init__(self, config: ContractionConfig) -> None:
        self.config = config
        self._delta = config.delta if config.derivative == "central" else None

    def estimator(self, x: Tensor) -> str:
        """What estimates at ``x``: ``auto`` resolved by the number of a sample's elements."""
        return self.config.resolved_estimator(x[0].numel())

    def frobenius_squared(self, fn: Map, x: Tensor, generator: torch.Generator) -> Tensor:
        """``||J||_F^2``."""
        if self.estimator(x) == "exact":
            return estimators.stacked_jacobian(fn, x).square().sum(dim=(1, 2))
        return estimators.frobenius_squared(fn, x, generator, self.config.probes, self._delta)

    def symmetric_frobenius_squared(self, fn: Map, x: Tensor, generator: torch.Generator, shift: float) -> Tensor:
        """``||sym(J) + shift I||_F^2``."""
        if self.estimator(x) == "exact":
            shifted = estimators.affine(
                estimators.symmetric_part(estimators.stacked_jacobian(fn, x)), x.new_full((len(x),), shift), x.new_ones(len(x))
            )
            return shifted.square().sum(dim=(1, 2))
        return estimators.symmetric_frobenius_squared(fn, x, generator, self.config.probes, self._delta, shift)

    def lambda_max_symmetric(self, fn: Map, x: Tensor, generator: torch.Generator) -> Tensor:
        """Largest eigenvalue of ``sym(J)``."""
        chosen = self.estimator(x)
        if chosen == "exact":
            eigenvalues: Tensor = torch.linalg.eigvalsh(estimators.symmetric_part(estimators.stacked_jacobian(fn, x)))
            return eigenvalues[:, -1]
        if chosen == "lanczos":
            return estimators.lambda_max_lanczos(fn, x, generator, self.config.lanczos_steps, self._delta)
        return estimators.lambda_max_symmetric(fn, x, generator, self.config.iterations, self._delta)

    def sigma_max_affine(self, fn: Map, x: Tensor, r: Tensor, c: Tensor, generator: torch.Generator) -> Tensor:
        """Largest singular value of ``r I + c J``, r and c (N,)."""
        chosen = self.estimator(x)
        if chosen == "exact":
            singular: Tensor = torch.linalg.svdvals(estimators.affine(estimators.stacked_jacobian(fn, x), r, c))
            return singular[:, 0]
        if chosen == "lanczos":
            return estimators.sigma_max_lanczos(fn, x, r, c, generator, self.config.lanczos_steps, self._delta)
        return estimators.sigma_max_affine(fn, x, r, c, generator, self.config.iterations, self._delta)
