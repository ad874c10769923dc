"""Data whose exact denoiser is known: the oracles of everything that samples, measures or penalises.

Arrays and tensors alike: ``x`` (B, ...) is flattened to (B, d) inside, times are (B,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdp.diffusion.arrays import array_like, call, softmax
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.path import NoisePath


@dataclass(frozen=True)
class Gaussian:
    """Normal data of mean ``mean`` and standard deviation ``std`` in every direction, on ``path``."""

    std: float
    path: NoisePath
    mean: float = 0.0

    def denoise(self, x: Any, t: Any) -> Any:
        """``E[a_0 | a_t] = mean + alpha s^2 / (alpha^2 s^2 + sigma^2) (a_t - alpha mean)``."""
        alpha, sigma = coefficients(self.path, t, x)
        return self.mean + alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2) * (x - alpha * self.mean)

    def jacobian_x0(self, t: Any) -> Any:
        """The factor of the identity that the denoiser's Jacobian is."""
        alpha, sigma = self.path.alpha(t), self.path.sigma(t)
        return alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)

    def spread(self, t: float) -> float:
        """Standard deviation of a_t, ``sqrt(alpha^2 s^2 + sigma^2)``."""
        return float(np.hypot(self.path.alpha(t) * self.std, self.path.sigma(t)))

    def flow(self, x: Any, start: float, end: float) -> Any:
        """The probability flow's exact map from time ``start`` to ``end``: distances from the mean scale with the spread.

        From pure noise to data that is ``a_0 = mean + s z``, whose Lipschitz constant is s.
        """
        return self.path.alpha(end) * self.mean + self.spread(end) / self.spread(start) * (x - self.path.alpha(start) * self.mean)


class GaussianMixture:
    """Isotropic Gaussians at ``means`` (K, d) of standard deviations ``std`` (one, or K), ``weights`` (K,) equal by default, on ``path``.

    Raises ValueError for shapes that do not fit, weights that are not positive or a negative std.
    """

    def __init__(self, means: ArrayLike, std: float | ArrayLike, path: NoisePath, weights: ArrayLike | None = None) -> None:
        self.means: NDArray[np.float64] = np.asarray(means, dtype=np.float64)
        if self.means.ndim != 2:
            raise ValueError(f"means {self.means.shape} are not (K, d)")
        count = len(self.means)
        self.std: NDArray[np.float64] = np.broadcast_to(np.asarray(std, dtype=np.float64), (count,))
        raw = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
        if raw.shape != (count,) or not np.all(raw > 0.0) or not np.all(self.std >= 0.0):
            raise ValueError(f"{count} modes need {count} positive weights and no negative std")
        self.weights: NDArray[np.float64] = raw / raw.sum()
        self.path = path

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """``count`` samples (count, d) of the data."""
        modes = rng.choice(len(self.means), size=count, p=self.weights)
        return np.asarray(self.means[modes] + self.std[modes, None] * rng.standard_normal((count, self.means.shape[1])))

    def denoise(self, x: Any, t: Any) -> Any:
        """``E[a_0 | a_t]``: each mode's own posterior mean, weighted by how likely a_t came from it."""
        weight, inner, _ = self._posterior(x.reshape(len(x), -1), t)
        return (weight[..., None] * inner).sum(1).reshape(x.shape)

    def jacobian_x0(self, x: Any, t: Any) -> Any:
        """Jacobian (B, d, d) of the denoiser, ``(alpha / sigma^2) Cov(a_0 | a_t)``: symmetric and never negative."""
        weight, inner, variance = self._posterior(x.reshape(len(x), -1), t)
        centred = inner - (weight[..., None] * inner).sum(1)[:, None]
        between = (weight[..., None, None] * centred[..., :, None] * centred[..., None, :]).sum(1)
        within = (weight * variance).sum(1)[:, None, None] * array_like(np.eye(self.means.shape[1]), x)
        return (self.path.alpha(t) / self.path.sigma(t) ** 2)[:, None, None] * (between + within)

    def _posterior(self, x: Any, t: Any) -> tuple[Any, Any, Any]:
        """Of each mode, given x (B, d): its probability (B, K), and the mean (B, K, d) and variance (B, K) of the action if it came from there."""
        means, prior, own = array_like(self.means, x), array_like(np.log(self.weights), x), array_like(self.std**2, x)
        alpha, sigma = coefficients(self.path, t, x)
        total = alpha**2 * own + sigma**2
        offset = x[:, None] - alpha[..., None] * means
        log_total = call("log", total)
        weight = softmax(prior - 0.5 * (offset**2).sum(-1) / total - 0.5 * means.shape[1] * log_total)
        inner = means + (alpha * own / total)[..., None] * offset
        return weight, inner, own * sigma**2 / total


def four_modes(path: NoisePath, std: float = 0.1) -> GaussianMixture:
    """The planar mixture of the closed-form checks: four equal modes at distance 1 from the origin."""
    return GaussianMixture([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], std, path)
