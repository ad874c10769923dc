"""Where along its paths a sampler contracts: in the limit of many steps, and in the few steps that are taken."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cdp.contraction.estimators import Map, jvp, lanczos_extremes, random_direction, vjp
from cdp.contraction.penalties import bind
from cdp.contraction.report_lipschitz import LANCZOS_STEPS, pair_distance, sigma_max
from cdp.contraction.report_sampler import Sampler
from cdp.diffusion.sampler import Step, sample_path, sampler_steps, times_like
from cdp.diffusion.schedule import Schedule

STEP_SOLVERS = ("ddim", "dpmpp_2m")
"""Solvers whose step is ``a_s = r a_t + c (x0 + extrapolation (x0 - x0_previous))``."""


@dataclass(frozen=True)
class PathExcess:
    """``lambda_max(sym J_x0) - limit`` (times, B) at descending ``times`` of B sampled paths; above 0 sampling expands in some direction."""

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


def expansion_limit(schedule: Schedule, t: float) -> float:
    """Largest ``lambda_max(sym J_x0)`` at time ``t`` with which the probability-flow ODE contracts as it is sampled; ``alpha_t`` on a VP schedule.

    With ``a = ln alpha`` and ``b = ln sigma`` the ODE is ``da_t/dt = b' a_t + alpha (a' - b') x0``; run backwards it contracts where
    ``lambda_max(sym J_x0) < b' / (alpha (b' - a'))``.
    """
    log_alpha, log_sigma = schedule.dlog_alpha_dt(t), schedule.dlog_sigma_dt(t)
    return float(log_sigma / (schedule.alpha(t) * (log_sigma - log_alpha)))


def path_excess(sampler: Sampler, noise: Tensor, path_steps: int, generator: torch.Generator) -> PathExcess:
    """The excess on paths from ``noise`` (N, S, ...), solved in ``path_steps`` steps: the states before each of them."""
    cond, start = sampler.conditions(noise.shape[1]), noise.flatten(0, 1)
    path = sample_path(lambda a, t: sampler.denoise(a, t, cond), start, path_steps, sampler.solver, sampler.schedule)
    times = [float(t) for t in sampler.schedule.time_grid(path_steps)[:-1]]
    rows = []
    for x, time in zip(path[:-1], times, strict=True):
        largest = lambda_max(bind(sampler.denoise, times_like(x, time), cond), x, generator)
        rows.append(largest - expansion_limit(sampler.schedule, time))
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
    """``sigma_max(r I + c J_x0)`` along the sampler's own paths from ``noise`` (N, S, ...); None for a solver of other steps."""
    if sampler.solver not in STEP_SOLVERS:
        return None
    cond, start = sampler.conditions(noise.shape[1]), noise.flatten(0, 1)
    path = sample_path(lambda a, t: sampler.denoise(a, t, cond), start, sampler.steps, sampler.solver, sampler.schedule)
    steps = sampler_steps(sampler.steps, sampler.solver, sampler.schedule)
    factors = [sigma_max(_step_map(sampler, step, cond, x), x, generator) for step, x in zip(steps, path[:-1], strict=True)]
    return StepFactors(steps, torch.stack(factors), all(step.extrapolation == 0.0 for step in steps))


def _step_map(sampler: Sampler, step: Step, cond: Tensor, like: Tensor) -> Map:
    predict = bind(sampler.denoise, times_like(like, step.t), cond)
    return lambda x: step.r * x + step.c * (1.0 + step.extrapolation) * predict(x)
