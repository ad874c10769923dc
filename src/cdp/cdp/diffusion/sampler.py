"""Samplers for an x0 denoiser, on numpy arrays and torch tensors alike: any path, any number of steps from 1, from noise or from a given sample.

:mod:`cdp.diffusion.steps` describes the solvers. Beside them there is ``heun``, the second-order explicit one (two evaluations a step; the step to
t = 0, where the ODE's right-hand side is not defined, is Euler's, as in arXiv 2206.00364), and :func:`cdp.diffusion.reference.solve_reference`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from cdp.diffusion.arrays import normal_like, times_like
from cdp.diffusion.path import NoisePath
from cdp.diffusion.schedule import Schedule
from cdp.diffusion.steps import AFFINE, STOCHASTIC, Step, affine_steps, euler_step

__all__ = [
    "ALL_SOLVERS",
    "DETERMINISTIC",
    "SOLVERS",
    "STOCHASTIC",
    "Denoise",
    "Step",
    "integrate",
    "sample",
    "sample_path",
    "sampler_steps",
    "times_like",
]

#: Solvers of a deployed policy: exact for a constant x0, so that few steps, even one, give an action.
SOLVERS = ("ddim", "dpmpp_2m")
ALL_SOLVERS = (*AFFINE, "heun")
DETERMINISTIC = tuple(solver for solver in ALL_SOLVERS if solver not in STOCHASTIC)

#: ``denoise(x (B, T, D), t (B,)) -> x0 (B, T, D)``; the condition is bound by the caller.
Denoise = Callable[[Any, Any], Any]


def sampler_steps(steps: int, solver: str, schedule: NoisePath, start: float | None = None, eta: float = 1.0) -> list[Step]:
    """Coefficients of the ``steps`` steps from noise, or from the time ``start``, to data.

    Raises ValueError for ``steps < 1``, a start off the path, or a solver that is not one of :data:`cdp.diffusion.steps.AFFINE`.
    """
    return affine_steps(schedule.time_grid(steps, start).tolist(), solver, schedule, eta)


def sample(
    denoise: Denoise,
    noise: Any,
    steps: int,
    solver: str = "ddim",
    schedule: NoisePath | None = None,
    *,
    start: float | None = None,
    generator: Any = None,
    eta: float = 1.0,
) -> Any:
    """Actions (B, T, D) from standard normal ``noise`` (B, T, D), of the same kind (numpy or torch), dtype and device.

    Any trailing shape is accepted. With ``start``, ``noise`` is not noise but the state at that time, taken as it is: a warm start, from
    :meth:`NoisePath.noised` for example.
    ``generator`` (see :func:`cdp.diffusion.arrays.normal_like`) draws the noise of the stochastic solvers, which ``eta`` scales.
    Raises ValueError for ``steps < 1``, an unknown solver, a start off the path, or a stochastic solver without a generator.
    """
    return sample_path(denoise, noise, steps, solver, schedule, start=start, generator=generator, eta=eta)[-1]


def sample_path(
    denoise: Denoise,
    noise: Any,
    steps: int,
    solver: str = "ddim",
    schedule: NoisePath | None = None,
    *,
    start: float | None = None,
    generator: Any = None,
    eta: float = 1.0,
) -> list[Any]:
    """The ``steps + 1`` states that :func:`sample` passes through, the one at the first time first and the action last."""
    path = schedule if schedule is not None else Schedule()
    times = path.time_grid(steps, start).tolist()
    first = noise if start is not None or path.noise_scale == 1.0 else path.noise_scale * noise
    return integrate(denoise, first, times, solver, path, generator=generator, eta=eta)


def integrate(
    denoise: Denoise, x: Any, times: Sequence[float], solver: str, path: NoisePath, *, generator: Any = None, eta: float = 1.0
) -> list[Any]:
    """The states at each of the descending ``times``, from the state ``x`` at the first; the last time may be 0. Raises as :func:`sample` does."""
    if solver == "heun":
        return _heun(denoise, x, [float(t) for t in times], path)
    if solver not in AFFINE:
        raise ValueError(f"solver {solver!r} is not one of {', '.join(ALL_SOLVERS)}")
    states = [x]
    previous_x0 = None
    for step in affine_steps(times, solver, path, eta):
        x0 = denoise(states[-1], times_like(states[-1], step.t))
        target = x0 if step.extrapolation == 0.0 else x0 + step.extrapolation * (x0 - previous_x0)
        state = step.r * states[-1] + step.c * target
        if step.noise > 0.0:
            if generator is None:
                raise ValueError(f"{solver} draws noise: give it a generator")
            state = state + step.noise * normal_like(state, generator)
        states.append(state)
        previous_x0 = x0
    return states


def _heun(denoise: Denoise, x: Any, times: Sequence[float], path: NoisePath) -> list[Any]:
    states = [x]
    for t, s in itertools.pairwise(times):
        x = states[-1]
        first = euler_step(path, t, s)
        ahead = first.r * x + first.c * denoise(x, times_like(x, t))
        if s > 0.0:
            # x + (s - t) u(ahead, s): the Euler step there, minus where it starts.
            second = euler_step(path, s, s + (s - t))
            slope = (second.r - 1.0) * ahead + second.c * denoise(ahead, times_like(x, s))
            ahead = 0.5 * (ahead + x + slope)
        states.append(ahead)
    return states
