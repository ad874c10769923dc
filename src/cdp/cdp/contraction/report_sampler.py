"""The sampler that a report looks at: a denoiser, the observations it answers, and how it is solved. A toy without a camera is one just as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from cdp.contraction.estimators import Map
from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import sample

_BATCH = 2048


@dataclass(frozen=True)
class Sampler:
    """``Phi``: noise -> action for N observations, each a row of ``cond`` (N, C). ``shape`` is that of one action, (T, D) for a chunk.

    ``temperature`` is the standard deviation of the noise that sampling starts from; 1 is the one it was trained for.
    """

    denoise: ConditionalDenoise
    cond: Tensor
    shape: tuple[int, ...]
    schedule: NoisePath
    solver: str
    steps: int
    temperature: float = 1.0

    def noise(self, seeds: int, generator: torch.Generator) -> Tensor:
        """Starting points (N, seeds, ...); the same for every temperature but for the factor."""
        # Drawn in double precision on the CPU: the same numbers for every network, whatever it computes in and wherever.
        drawn = torch.randn((len(self.cond), seeds, *self.shape), generator=generator, dtype=torch.float64)
        return self.temperature * drawn.to(self.cond)

    def conditions(self, seeds: int) -> Tensor:
        """Conditions (N * seeds, C) in the order of flattened starting points."""
        return self.cond.repeat_interleave(seeds, 0)

    def map(self, seeds: int, steps: int | None = None, solver: str | None = None) -> Map:
        """``Phi`` on flattened starting points (N * seeds, ...), or several such stacked; by its own steps and solver unless others are given."""
        conditions = self.conditions(seeds)
        count, method = self.steps if steps is None else steps, self.solver if solver is None else solver

        def solve(x: Tensor, cond: Tensor) -> Tensor:
            return cast(Tensor, sample(lambda a, t: self.denoise(a, t, cond), x, count, method, self.schedule))

        def phi(x: Tensor) -> Tensor:
            stacked = conditions.repeat(len(x) // len(conditions), 1)
            return torch.cat([solve(*part) for part in zip(torch.split(x, _BATCH), torch.split(stacked, _BATCH), strict=True)])

        return phi


def root_mean_square(values: Tensor) -> Tensor:
    """Root mean square (B,) of each of a batch (B, ...)."""
    return values.flatten(1).square().mean(dim=1).sqrt()


def spread(values: Tensor, tail: bool = False) -> dict[str, float]:
    """Median, 95th percentile and maximum: averages hide the tail. ``tail`` adds the 99.9th percentile."""
    values = values.flatten()
    figures = {"median": float(values.quantile(0.5)), "p95": float(values.quantile(0.95))}
    if tail:
        figures["p999"] = float(values.quantile(0.999))
    return {**figures, "max": float(values.max())}
