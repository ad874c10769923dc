"""A stochastic sampler as a map from all of its noise."""

from __future__ import annotations

import torch
from torch import Tensor

from cdp.contraction.estimators import Map, exact_jacobian
from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import sampler_steps, times_like


def noise_path_sampler(denoise: ConditionalDenoise, cond: Tensor, steps: int, solver: str, schedule: NoisePath, eta: float) -> Map:
    """The sampler under conditions (N, C) as a map from unit noise (N, steps + 1, D) to actions (N, 1, D).

    Row 0 is where sampling starts and row k + 1 what step k adds. For solvers without extrapolation: ``ddim``, ``euler`` and the stochastic ones.
    """
    walk = sampler_steps(steps, solver, schedule, eta=eta)

    def fn(noise: Tensor) -> Tensor:
        x = schedule.noise_scale * noise[:, :1]
        for k, step in enumerate(walk):
            x = step.r * x + step.c * denoise(x, times_like(x, step.t), cond) + step.noise * noise[:, k + 1 : k + 2]
        return x

    return fn


def noise_gains(fn: Map, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Largest singular values (N,) of the exact Jacobian of ``fn`` with respect to the first row of ``noise`` (N, K, D), and to all of it.

    The first is the sensitivity to the start with the noise of the steps held; the second the most that unit noise anywhere can move the action.
    """
    jacobian = exact_jacobian(fn, noise).detach()
    first = torch.linalg.matrix_norm(jacobian[:, :, : noise.shape[2]], ord=2)
    return first, torch.linalg.matrix_norm(jacobian, ord=2)
