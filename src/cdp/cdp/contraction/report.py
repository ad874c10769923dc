"""What a trained sampler does to its noise: the measured contraction report.

Every figure is for fixed observations and the same noise for every solver setting, so that reports of two policies compare like with like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from cdp.contraction.estimators import Map, jvp, lanczos_extremes, random_direction, vjp
from cdp.contraction.penalties import ConditionalDenoise, bind
from cdp.diffusion.sampler import sample, sample_path, sampler_steps, times_like
from cdp.diffusion.schedule import Schedule

SOLVER_STEPS = (1, 2, 3, 5, 10)
REFERENCE_STEPS = 50
PAIR_DISTANCE = 1e-3
_LANCZOS_STEPS = 8
_PATH_STEPS = 10
_SEEDS_OF_COSTLY_FIGURES = 2


def measure_sampler(
    denoise: ConditionalDenoise, cond: Tensor, shape: tuple[int, int], seeds: int, steps: int, solver: str, schedule: Schedule, seed: int = 0
) -> dict[str, Any]:
    """Figures, ready for JSON, of the sampler under conditions ``cond`` (N, C), for chunks of ``shape`` (T, D) in normalised units.

    - ``lipschitz``: ``|Phi(x) - Phi(y)| / |x - y|`` of the deployed sampler for pairs :data:`PAIR_DISTANCE` apart in a random direction;
      ``sigma_max`` the same in the most expanding direction (Lanczos on ``J^T J``, a lower bound).
    - ``action_std``: standard deviation over the noise seeds, root mean square over the chunk, for each observation.
    - ``violation``: share of points on sampled paths where ``lambda_max(sym J_x0) > alpha_t``, where sampling expands in some direction.
    - ``solver_error``: root mean square difference from the same noise solved in :data:`REFERENCE_STEPS` steps.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((len(cond), seeds, *shape), generator=generator).to(cond.device)
    few = min(seeds, _SEEDS_OF_COSTLY_FIGURES)
    every, some = noise.flatten(0, 1), noise[:, :few].flatten(0, 1)
    cond_every, cond_some = cond.repeat_interleave(seeds, 0), cond.repeat_interleave(few, 0)

    def sampler(count: int, conditions: Tensor) -> Map:
        def fn(x: Tensor) -> Tensor:
            stacked = conditions.repeat(len(x) // len(conditions), 1)
            return cast(Tensor, sample(lambda a, t: denoise(a, t, stacked), x, count, solver, schedule))

        return fn

    with torch.no_grad():
        actions = sampler(steps, cond_every)(every)
        std = actions.reshape(len(cond), seeds, -1).std(dim=1).square().mean(dim=1).sqrt()
        error = _solver_error(lambda count: sampler(count, cond_some)(some))
        deployed = sampler(steps, cond_some)
        return {
            "observations": len(cond),
            "seeds": seeds,
            "steps": steps,
            "solver": solver,
            "grid": schedule.grid,
            "lipschitz": _spread(_tiny_pair_ratio(sampler(steps, cond_every), every, generator)),
            "sigma_max": _spread(_sigma_max(deployed, some, generator)),
            "action_std": _spread(std),
            "violation": _violation(denoise, cond_some, some, solver, schedule, generator),
            "solver_error": error,
            "step_coefficients": [[step.t, step.r, step.c] for step in sampler_steps(steps, solver, schedule)],
        }


def _tiny_pair_ratio(fn: Map, x: Tensor, generator: torch.Generator) -> Tensor:
    return jvp(fn, x, random_direction(x, generator), 0.5 * PAIR_DISTANCE).flatten(1).square().sum(dim=1).sqrt()


def _sigma_max(fn: Map, x: Tensor, generator: torch.Generator) -> Tensor:
    _, largest = lanczos_extremes(lambda v: vjp(fn, x, jvp(fn, x, v, 0.5 * PAIR_DISTANCE)), random_direction(x, generator), _LANCZOS_STEPS)
    return largest.clamp_min(0.0).sqrt()


def _violation(
    denoise: ConditionalDenoise, cond: Tensor, noise: Tensor, solver: str, schedule: Schedule, generator: torch.Generator
) -> dict[str, Any]:
    path = sample_path(lambda a, t: denoise(a, t, cond), noise, _PATH_STEPS, solver, schedule)
    times = schedule.time_grid(_PATH_STEPS).tolist()[:-1]
    excess = []
    for x, time in zip(path[:-1], times, strict=True):
        t = times_like(x, time)
        largest = _lambda_max(bind(denoise, t, cond), x, generator)
        excess.append(largest - schedule.alpha(time))
    return {
        "fraction": float(torch.cat(excess).gt(0.0).float().mean()),
        "times": times,
        "fraction_at_time": [float(e.gt(0.0).float().mean()) for e in excess],
        "median_excess_at_time": [float(e.median()) for e in excess],
    }


def _lambda_max(fn: Map, x: Tensor, generator: torch.Generator) -> Tensor:
    def symmetric(v: Tensor) -> Tensor:
        return 0.5 * (jvp(fn, x, v, 0.5 * PAIR_DISTANCE) + vjp(fn, x, v))

    return lanczos_extremes(symmetric, random_direction(x, generator), _LANCZOS_STEPS)[1]


def _solver_error(solve: Callable[[int], Tensor], counts: Sequence[int] = SOLVER_STEPS) -> dict[str, float]:
    reference = solve(REFERENCE_STEPS)
    return {str(count): float((solve(count) - reference).square().mean().sqrt()) for count in counts}


def _spread(values: Tensor) -> dict[str, float]:
    """Median, 95th percentile and maximum: averages hide the tail."""
    return {"median": float(values.median()), "p95": float(values.quantile(0.95)), "max": float(values.max())}
