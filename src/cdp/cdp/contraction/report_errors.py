"""What mistakes on the way do to the action: those of a coarse solver, of the prediction, and of the state between two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cdp.contraction.report_paths import STEP_SOLVERS
from cdp.contraction.report_sampler import Sampler, root_mean_square
from cdp.diffusion.sampler import sample_path, sampler_steps, times_like

GAIN_NOISE = 0.01
"""Standard deviation of the injected noise, in normalised actions: small enough for the sampler to answer it linearly."""


def solver_errors(solve: Callable[[int], Tensor], reference: Tensor, counts: Sequence[int]) -> dict[int, Tensor]:
    """Root mean square difference (B,) of ``solve(k)`` (B, ...) from ``reference`` (B, ...), the same noise in many steps, for each count k."""
    return {count: root_mean_square(solve(count) - reference) for count in counts}


def prediction_gains(sampler: Sampler, noise: Tensor, generator: torch.Generator) -> Tensor:
    """Gain (K + 1, B) of noise in the x0 prediction of each of the K steps, and, last, of independent noise in all of them together.

    Root mean square change of the action over that of the noise, for starting points ``noise`` (N, S, ...), B = N S. Noise e in x0 is noise
    ``alpha e / sigma^2`` in the score. Raises ValueError for a solver that is not one of ``STEP_SOLVERS``.
    """
    return _gains(sampler, noise, generator, on_state=False)


def state_gains(sampler: Sampler, noise: Tensor, generator: torch.Generator) -> Tensor:
    """Gain (K + 1, B) of noise added to the state from which each of the K steps starts, and, last, to all of them; see :func:`prediction_gains`.

    It is added to the standardised state: the same share of it on every path. The first state is the starting point itself. Raises ValueError as
    there.
    """
    return _gains(sampler, noise, generator, on_state=True)


def _gains(sampler: Sampler, noise: Tensor, generator: torch.Generator, on_state: bool) -> Tensor:
    if sampler.solver not in STEP_SOLVERS:
        raise ValueError(f"the gains of a step are defined for {', '.join(STEP_SOLVERS)}, not for {sampler.solver}")
    cond = sampler.conditions(noise.shape[1])
    path = sample_path(lambda a, t: sampler.denoise(a, t, cond), noise.flatten(0, 1), sampler.steps, sampler.solver, sampler.schedule)
    start, clean = path[0], path[-1]
    injected = [GAIN_NOISE * torch.randn(start.shape, generator=generator, dtype=torch.float64).to(start) for _ in range(sampler.steps)]
    rows = []
    for chosen in [{k: e} for k, e in enumerate(injected)] + [dict(enumerate(injected))]:
        moved = root_mean_square(_walk(sampler, start, cond, chosen, on_state) - clean)
        rows.append(moved / torch.stack([root_mean_square(e) for e in chosen.values()]).square().mean(dim=0).sqrt())
    return torch.stack(rows)


def _walk(sampler: Sampler, x: Tensor, cond: Tensor, injected: dict[int, Tensor], on_state: bool) -> Tensor:
    """The sampler's steps with noise added at the steps that ``injected`` names: to the state, or to the prediction."""
    before = x
    for k, step in enumerate(sampler_steps(sampler.steps, sampler.solver, sampler.schedule)):
        noise = injected.get(k, 0.0)
        if on_state:
            x = x + sampler.schedule.size(step.t) * noise
        x0 = sampler.denoise(x, times_like(x, step.t), cond)
        if not on_state:
            x0 = x0 + noise
        x = step.r * x + step.c * (x0 + step.extrapolation * (x0 - (before if k else x0)))
        before = x0
    return x
