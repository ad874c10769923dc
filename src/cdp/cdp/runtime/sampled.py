"""A denoiser whose sampler, all steps of it, is a network too."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import sampler_steps
from cdp.runtime.networks import Network

COEFFICIENTS = "coefficients"


class SampledDenoiser:
    """``once`` evaluates the denoiser: x (1, T, D), t (1,), cond (1, C) -> (1, T, D). ``loop`` samples a chunk in ``steps`` steps: x, the state at
    the first time, t (N,), cond, and ``coefficients`` (N, 3), the r, c and extrapolation of each :class:`cdp.diffusion.steps.Step`, -> (1, T, D).

    Both compute the same but for rounding, of a batch of one. Not thread-safe.
    """

    def __init__(self, once: Network, loop: Network, steps: int) -> None:
        self.steps = steps
        self.once, self._loop = once, loop
        self._grid: dict[tuple[str, NoisePath, float | None], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """One evaluation, (1, T, D)."""
        return self.once(inputs)

    def sample(
        self, noise: NDArray[np.float32], condition: NDArray[np.float32], solver: str, path: NoisePath, start: float | None = None
    ) -> NDArray[np.float32]:
        """The chunk (1, T, D) that :func:`cdp.diffusion.sampler.sample` gives in ``steps`` steps of ``solver`` on ``path``, for ``condition`` (1, C).

        ``noise`` (1, T, D) is standard normal; with ``start``, a time of the path, it is the state at that time, taken as it is.
        Raises ValueError for an unknown solver, a start off the path, or arrays of other shapes.
        """
        if (solver, path, start) not in self._grid:
            made = sampler_steps(self.steps, solver, path, start)
            times = np.array([step.t for step in made], dtype=np.float32)
            self._grid = {(solver, path, start): (times, np.array([(step.r, step.c, step.extrapolation) for step in made], dtype=np.float32))}
        times, coefficients = self._grid[solver, path, start]
        first = noise if start is not None or path.noise_scale == 1.0 else path.noise_scale * noise
        return self._loop({"x": first, "t": times, "cond": condition, COEFFICIENTS: coefficients})
