"""One column of a report: everything that is measured of one sampler, ready for JSON. Columns of one report share observations and noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cdp.config import setting
from cdp.contraction.report_errors import prediction_gains, solver_errors, state_gains
from cdp.contraction.report_lipschitz import independent_pair_ratios, sigma_max, tiny_pair_ratios
from cdp.contraction.report_paths import STEP_SOLVERS, path_excess, step_factors
from cdp.contraction.report_sampler import Sampler, root_mean_square, spread
from cdp.contraction.report_spread import MODE_DISTANCE, action_spread
from cdp.diffusion.sampler import SOLVERS

SOLVER_STEPS = (1, 2, 3, 5, 10, 20, 50)
REFERENCE_SOLVER = "dpmpp_2m"
REFERENCE_STEPS = 200
PARTS = ("lipschitz", "violation", "spread", "solver_error", "noise_gains")


@dataclass(frozen=True)
class Measuring:
    """How much is measured."""

    seeds: int = setting(64, low=2, high=100_000, help="noise seeds an observation")
    costly_seeds: int = setting(2, low=1, high=1000, help="of them, those for the figures that need Jacobians or many steps")
    path_steps: int = setting(10, low=1, high=1000, help="solver steps of the paths on which the violation is looked at")
    mode_distance: float = setting(MODE_DISTANCE, low=1e-6, high=100.0, help="actions closer than this belong to one mode")
    seed: int = setting(0, low=0, high=2**31 - 1, help="seed of every noise")


@torch.no_grad()
def measure_column(
    sampler: Sampler, measuring: Measuring, parts: Sequence[str] = PARTS, progress: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """The ``parts`` of :data:`PARTS`, measured of ``sampler``; ``progress`` hears of each that is done.

    The same ``measuring`` gives every sampler of N observations and one action shape the same noise, whatever parts are measured.
    """
    few = min(measuring.seeds, measuring.costly_seeds)
    noise = sampler.noise(measuring.seeds, torch.Generator().manual_seed(measuring.seed))
    actions = sampler.map(measuring.seeds)(noise.flatten(0, 1)).reshape(noise.shape)
    measures: dict[str, Callable[[torch.Generator], Any]] = {
        "lipschitz": lambda g: lipschitz_figures(sampler, noise, actions, few, g),
        "violation": lambda g: violation_figures(sampler, noise[:, :few], measuring.path_steps, g),
        "spread": lambda _: spread_figures(actions, measuring.mode_distance),
        "solver_error": lambda _: solver_figures(sampler, noise[:, :few]),
        "noise_gains": lambda g: gain_figures(sampler, noise[:, :few], g),
    }
    found = {}
    for part in parts:
        # A generator of its own for each part: what one part draws moves no other.
        found[part] = measures[part](torch.Generator().manual_seed(measuring.seed + 1_000_003 * (1 + PARTS.index(part))))
        if progress is not None:
            progress(part)
    return found


def lipschitz_figures(sampler: Sampler, noise: Tensor, actions: Tensor, few: int, generator: torch.Generator) -> dict[str, Any]:
    """Measurement 1, with ratios to the distance of the points that sampling starts from. ``independent`` is None where those are all one."""
    tiny = tiny_pair_ratios(sampler.map(noise.shape[1]), noise.flatten(0, 1), generator)
    independent = independent_pair_ratios(actions, noise)
    return {
        "tiny": _distribution(tiny),
        "independent": _distribution(independent) if len(independent) else None,
        "sigma_max": _distribution(sigma_max(sampler.map(few), noise[:, :few].flatten(0, 1), generator)),
    }


def violation_figures(sampler: Sampler, noise: Tensor, path_steps: int, generator: torch.Generator) -> dict[str, Any]:
    """Measurement 2: on paths of many steps, and at the steps that are taken."""
    excess = path_excess(sampler, noise, path_steps, generator)
    bands = {name: excess.quantile_at_time(q) for name, q in (("p05", 0.05), ("p25", 0.25), ("median", 0.5), ("p75", 0.75), ("p95", 0.95))}
    factors = step_factors(sampler, noise, generator)
    steps: dict[str, Any] | None = None
    if factors is not None:
        steps = {
            "factors": [{"t": step.t, "r": step.r, "c": step.c, **spread(row)} for step, row in zip(factors.steps, factors.factors, strict=True)],
            "product": spread(factors.product),
            "product_bounds_the_sampler": factors.bounds,
        }
    return {
        "fraction": excess.fraction,
        "times": excess.times,
        "fraction_at_time": excess.fraction_at_time,
        "excess_at_time": {**bands, "max": excess.quantile_at_time(1.0)},
        "steps": steps,
    }


def spread_figures(actions: Tensor, mode_distance: float) -> dict[str, Any]:
    """Measurement 3: over the observations, of the standard deviation over the seeds and its parts, and of the number of modes."""
    found = action_spread(actions, mode_distance)
    return {
        "total": spread(found.total),
        "within": spread(found.within),
        "between": spread(found.between),
        "modes": {"mean": float(found.modes.mean()), **spread(found.modes)},
        "observations_with_several_modes": int((found.modes > 1).sum()),
        "per_observation": {
            "total": found.total.tolist(),
            "within": found.within.tolist(),
            "between": found.between.tolist(),
            "modes": [int(m) for m in found.modes],
        },
    }


def solver_figures(sampler: Sampler, noise: Tensor, solvers: Sequence[str] = SOLVERS, counts: Sequence[int] = SOLVER_STEPS) -> dict[str, Any]:
    """Measurement 4: root mean square over the actions, and their 95th percentile, of the difference from the reference, by solver and steps.

    ``resolution`` is the same difference for the reference in half its steps: how well it is converged, and the smallest error that means something.
    """
    seeds, start = noise.shape[1], noise.flatten(0, 1)
    reference = sampler.map(seeds, REFERENCE_STEPS, REFERENCE_SOLVER)(start)
    errors = {}
    for solver in solvers:
        found = solver_errors(lambda count, solver=solver: sampler.map(seeds, count, solver)(start), reference, counts)  # type: ignore[misc]
        errors[solver] = {str(count): {"rms": _rms(error), "p95": float(error.quantile(0.95))} for count, error in found.items()}
    halved = sampler.map(seeds, REFERENCE_STEPS // 2, REFERENCE_SOLVER)(start)
    return {
        "reference": {"solver": REFERENCE_SOLVER, "steps": REFERENCE_STEPS},
        "resolution": _rms(root_mean_square(halved - reference)),
        "errors": errors,
    }


def gain_figures(sampler: Sampler, noise: Tensor, generator: torch.Generator) -> dict[str, Any] | None:
    """Measurement 5; None for a solver whose steps have no such form."""
    if sampler.solver not in STEP_SOLVERS:
        return None
    found = {"prediction": prediction_gains(sampler, noise, generator), "state": state_gains(sampler, noise, generator)}
    return {name: {"each": [_rms(row) for row in gains[:-1]], "together": _rms(gains[-1])} for name, gains in found.items()}


def _distribution(values: Tensor) -> dict[str, Any]:
    """Headline figures and the 0, 1 ... 100 % quantiles, from which the plots are drawn."""
    quantiles = values.quantile(torch.linspace(0.0, 1.0, 101, dtype=values.dtype, device=values.device))
    return {**spread(values, tail=True), "count": len(values), "quantiles": quantiles.tolist()}


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
