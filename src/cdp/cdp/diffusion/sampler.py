"""Deterministic few-step samplers for an x0 denoiser, on numpy arrays and torch tensors alike.

DDIM (arXiv 2010.02502) is the first-order exponential integrator of the probability-flow ODE, DPM-Solver++ 2M (arXiv 2211.01095) the second-order
multistep one. One DDIM step from t to s < t is ``a_s = r a_t + c x0(a_t, t)`` with ``r = sigma_s / sigma_t`` and ``c = alpha_s - alpha_t r``;
its Jacobian is ``r I + c J_x0``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdp.diffusion.schedule import Schedule

SOLVERS = ("ddim", "dpmpp_2m")

#: ``denoise(x (B, T, D), t (B,)) -> x0 (B, T, D)``; the condition is bound by the caller.
Denoise = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Step:
    """One sampler step ``a_s = r a_t + c (x0 + extrapolation (x0 - x0_previous))``."""

    t: float
    s: float
    r: float
    c: float
    extrapolation: float


def sampler_steps(steps: int, solver: str, schedule: Schedule) -> list[Step]:
    """Coefficients of the ``steps`` steps from noise to data.

    The last step ends at sigma = 0 (r = 0, c = 1) and is first order: the second-order formula extrapolates in the log signal-to-noise ratio,
    which is infinite there.
    Raises ValueError for ``steps < 1`` or an unknown solver.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver {solver!r} is not one of {', '.join(SOLVERS)}")
    times = schedule.time_grid(steps).tolist()
    made = []
    previous_h = None
    for t, s in itertools.pairwise(times):
        r = schedule.sigma(s) / schedule.sigma(t)
        c = schedule.alpha(s) - schedule.alpha(t) * r
        extrapolation = 0.0
        if s > 0.0:
            h = schedule.log_snr(s) - schedule.log_snr(t)
            if solver == "dpmpp_2m" and previous_h is not None:
                extrapolation = 0.5 * h / previous_h
            previous_h = h
        made.append(Step(t, s, r, c, extrapolation))
    return made


def sample(denoise: Denoise, noise: Any, steps: int, solver: str = "ddim", schedule: Schedule | None = None) -> Any:
    """Actions (B, T, D) from standard normal ``noise`` (B, T, D), of the same kind (numpy or torch), dtype and device.

    Any trailing shape is accepted. Raises ValueError for ``steps < 1`` or an unknown solver.
    """
    return sample_path(denoise, noise, steps, solver, schedule)[-1]


def sample_path(denoise: Denoise, noise: Any, steps: int, solver: str = "ddim", schedule: Schedule | None = None) -> list[Any]:
    """The ``steps + 1`` states that :func:`sample` passes through, ``noise`` first and the action last."""
    path = [noise]
    previous_x0 = None
    for step in sampler_steps(steps, solver, schedule if schedule is not None else Schedule()):
        x0 = denoise(path[-1], times_like(path[-1], step.t))
        target = x0 if step.extrapolation == 0.0 else x0 + step.extrapolation * (x0 - previous_x0)
        path.append(step.r * path[-1] + step.c * target)
        previous_x0 = x0
    return path


def times_like(x: Any, t: float) -> Any:
    """The time ``t`` for each of the batch ``x`` (B, ...): (B,), of x's kind, dtype and device."""
    return x.new_full((x.shape[0],), t) if hasattr(x, "new_full") else np.full(x.shape[0], t, dtype=x.dtype)
