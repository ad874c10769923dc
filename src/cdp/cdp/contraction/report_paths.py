"""Where along its paths a sampler contracts: in the limit of many steps, and in the few steps that are taken."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cdp.contraction.estimators import Map, jvp, lanczos_extremes, random_direction, standardised_map, vjp
from cdp.contraction.penalties import bind
from cdp.contraction.report_lipschitz import LANCZOS_STEPS, pair_distance, sigma_max
from cdp.contraction.report_sampler import Sampler
from cdp.diffusion.sampler import DETERMINISTIC, Step, sample_path, sampler_steps, times_like
from cdp.diffusion.steps import AFFINE, standardised_step

STEP_SOLVERS = tuple(solver for solver in AFFINE if solver in DETERMINISTIC)
"""Solvers whose step is ``a_s = r a_t + c (x0 + extrapolation (x0 - x0_previous))``."""


@dataclass(frozen=True)
class PathExcess:
    """``lambda_max(sym J_x0) - contraction_limit`` (times, B) at descending ``times`` of B paths; above 0 sampling expands in some direction."""

    times: list[float]
    excess: Tensor

    @property
    def fraction(self) -> float:
        """Share of the points in violation."""
        return float(self.excess.gt(0.0).double().mean())

    @property
    def fraction_at_time(self) -> list[float]:
        """The same at each time."""
        return [float(e) for e in self.excess.gt(0.0).double().mean(dim=1)]

    def quantile_at_time(self, q: float) -> list[float]:
        """Quantile ``q`` of the excess over the paths at each time."""
        return [float(e) for e in self.excess.quantile(q, dim=1)]


def path_excess(sampler: Sampler, noise: Tensor, path_steps: int, generator: torch.Generator) -> PathExcess:
    """The excess on paths from ``noise`` (N, S, ...), solved in ``path_steps`` steps: the states before each of them."""
    cond, start = sampler.conditions(noise.shape[1]), noise.flatten(0, 1)
    path = sample_path(lambda a, t: sampler.denoise(a, t, cond), start, path_steps, sampler.solver, sampler.schedule)
    times = [float(t) for t in sampler.schedule.time_grid(path_steps)[:-1]]
    rows = []
    for x, time in zip(path[:-1], times, strict=True):
        size = sampler.schedule.size(time)
        predict = standardised_map(bind(sampler.denoise, times_like(x, time), cond), times_like(x, size))
        rows.append(lambda_max(predict, x / size, generator) / size - sampler.schedule.contraction_limit(time))
    return PathExcess(times, torch.stack(rows))


def lambda_max(fn: Map, x: Tensor, generator: torch.Generator) -> Tensor:
    """Largest eigenvalue (B,) of ``sym(J)`` of the sample-wise map ``fn`` at ``x`` (B, ...) by Lanczos; a lower bound."""
    delta = 0.5 * pair_distance(x)

    def symmetric(v: Tensor) -> Tensor:
        return 0.5 * (jvp(fn, x, v, delta) + vjp(fn, x, v))

    return lanczos_extremes(symmetric, random_direction(x, generator), LANCZOS_STEPS)[1]


@dataclass(frozen=True)
class StepFactors:
    """Largest singular value (K, B) of the Jacobian of each of the K steps that the sampler takes, at the states (B) where it takes them.

    ``steps`` are those of the standardised state, ``a_t`` over its size: their factors mean the same on every path, and a change of scale is none.
    Where a step extrapolates, as those of ``dpmpp_2m`` do, the prediction before it is held fixed, and the product of the factors ``bounds`` nothing.
    """

    steps: list[Step]
    factors: Tensor
    bounds: bool

    @property
    def product(self) -> Tensor:
        """Product over the steps (B,): where ``bounds`` holds, no tiny difference of this path's noise grows by more."""
        return self.factors.prod(dim=0)


def step_factors(sampler: Sampler, noise: Tensor, generator: torch.Generator) -> StepFactors | None:
    """``sigma_max(r I + c J)`` along the sampler's own paths from ``noise`` (N, S, ...), J that of the standardised state; None for other solvers."""
    if sampler.solver not in STEP_SOLVERS:
        return None
    cond, start = sampler.conditions(noise.shape[1]), noise.flatten(0, 1)
    path = sample_path(lambda a, t: sampler.denoise(a, t, cond), start, sampler.steps, sampler.solver, sampler.schedule)
    steps = [standardised_step(step, sampler.schedule) for step in sampler_steps(sampler.steps, sampler.solver, sampler.schedule)]
    factors = [
        sigma_max(_step_map(sampler, step, cond, x), x / sampler.schedule.size(step.t), generator) for step, x in zip(steps, path[:-1], strict=True)
    ]
    return StepFactors(steps, torch.stack(factors), all(step.extrapolation == 0.0 for step in steps))


def _step_map(sampler: Sampler, step: Step, cond: Tensor, like: Tensor) -> Map:
    predict = standardised_map(bind(sampler.denoise, times_like(like, step.t), cond), times_like(like, sampler.schedule.size(step.t)))
    return lambda x: step.r * x + step.c * (1.0 + step.extrapolation) * predict(x)
