"""What a trained sampler does to its noise, in the few figures that every training writes into its bundle; ``cdp report`` measures more.

Every figure is for fixed observations and the same noise for every solver setting, so that reports of two policies compare like with like.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cdp.contraction.penalties import ConditionalDenoise
from cdp.contraction.report_errors import solver_errors
from cdp.contraction.report_lipschitz import sigma_max, tiny_pair_ratios
from cdp.contraction.report_paths import path_excess
from cdp.contraction.report_sampler import Sampler, spread
from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import sampler_steps

SOLVER_STEPS = (1, 2, 3, 5, 10)
REFERENCE_STEPS = 50
_PATH_STEPS = 10
_SEEDS_OF_COSTLY_FIGURES = 2


def measure_sampler(
    denoise: ConditionalDenoise, cond: Tensor, shape: tuple[int, int], seeds: int, steps: int, solver: str, schedule: NoisePath, seed: int = 0
) -> dict[str, Any]:
    """Figures, ready for JSON, of the sampler under conditions ``cond`` (N, C), for chunks of ``shape`` (T, D) in normalised units.

    - ``lipschitz``: ``|Phi(x) - Phi(y)| / |x - y|`` of the deployed sampler for pairs a little apart in a random direction;
      ``sigma_max`` the same in the most expanding direction (Lanczos on ``J^T J``, a lower bound).
    - ``action_std``: standard deviation over the noise seeds, root mean square over the chunk, for each observation.
    - ``violation``: share of points on sampled paths where ``lambda_max(sym J_x0)`` exceeds the path's ``contraction_limit``: sampling expands.
    - ``solver_error``: root mean square difference from the same noise solved in :data:`REFERENCE_STEPS` steps.
    """
    generator = torch.Generator().manual_seed(seed)
    sampler = Sampler(denoise, cond, shape, schedule, solver, steps)
    noise = sampler.noise(seeds, generator)
    few = min(seeds, _SEEDS_OF_COSTLY_FIGURES)
    every, some = noise.flatten(0, 1), noise[:, :few].flatten(0, 1)
    with torch.no_grad():
        std = sampler.map(seeds)(every).reshape(len(cond), seeds, -1).std(dim=1).square().mean(dim=1).sqrt()
        excess = path_excess(sampler, noise[:, :few], _PATH_STEPS, generator)
        errors = solver_errors(lambda count: sampler.map(few, count)(some), sampler.map(few, REFERENCE_STEPS)(some), SOLVER_STEPS)
        return {
            "observations": len(cond),
            "seeds": seeds,
            "steps": steps,
            "solver": solver,
            "grid": schedule.grid,
            "lipschitz": spread(tiny_pair_ratios(sampler.map(seeds), every, generator)),
            "sigma_max": spread(sigma_max(sampler.map(few), some, generator)),
            "action_std": spread(std),
            "violation": {
                "fraction": excess.fraction,
                "times": excess.times,
                "fraction_at_time": excess.fraction_at_time,
                "median_excess_at_time": [float(e) for e in excess.excess.median(dim=1).values],
            },
            "solver_error": {str(count): float(error.square().mean().sqrt()) for count, error in errors.items()},
            "step_coefficients": [[step.t, step.r, step.c] for step in sampler_steps(steps, solver, schedule)],
        }
