"""The 2-D toy: a state on the unit circle, two opposite modes of the action, and everything about it that is known in closed form.

State ``s = (cos u, sin u)``; the expert takes ``+m`` or ``-m`` with equal probability, ``m = radius (cos ku, sin ku)``: as the state goes round once,
the modes turn ``k`` times, which is what the network has to learn. Actions are normal around the mode, of standard deviation ``std`` on each axis.
They are chunks of one row (T = 1, D = 2), in normalised units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cdp.config import setting
from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.path import NoisePath

SHAPE = (1, 2)
STATE_WIDTH = 2
HIT_RADIUS = 0.15


@dataclass(frozen=True)
class ToyTask:
    """The expert and how much of it was recorded."""

    radius: float = setting(0.8, low=0.2, high=1.0, help="distance of a mode from the origin")
    turns: int = setting(3, low=1, high=20, help="k, turns of the modes while the state goes round once")
    std: float = setting(0.05, low=1e-3, high=0.2, help="standard deviation of the expert on each axis")
    demonstrations: int = setting(64, low=1, high=100_000, help="demonstrations in the full data set")
    rows: int = setting(1, low=1, high=1000, help="rows of a demonstration, along an arc, all of the same mode")
    arc: float = setting(0.8, low=0.0, high=2 * math.pi, help="[rad] length of that arc")

    @property
    def hit_rate(self) -> float:
        """Share of the expert's own actions within :data:`HIT_RADIUS` of their mode: ``1 - exp(-r^2 / (2 std^2))`` (Rayleigh)."""
        return 1.0 - math.exp(-(HIT_RADIUS**2) / (2.0 * self.std**2))

    @property
    def action_std(self) -> float:
        """Standard deviation of the expert's actions for one state, root mean square over the two axes, both modes together."""
        return math.sqrt(0.5 * self.radius**2 + self.std**2)


#: The toy with both modes learnt: they turn once, and a demonstration is several rows along an arc, so that neighbouring states are seen with either.
ARCS = ToyTask(turns=1, rows=8)


def states_on_circle(count: int) -> Tensor:
    """``count`` evenly spaced states (count, 2)."""
    angle = torch.arange(count) * (2.0 * math.pi / count)
    return torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)


def mode_of(task: ToyTask, states: Tensor) -> Tensor:
    """The mode ``m`` (..., 2) of states (..., 2); the other is ``-m``."""
    angle = task.turns * torch.atan2(states[..., 1], states[..., 0])
    return task.radius * torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)


def demonstrations(task: ToyTask, seed: int, fraction: float = 1.0) -> tuple[Tensor, Tensor]:
    """States (N, 2) and actions (N, 1, 2) of the first ``fraction`` of the demonstrations that ``seed`` draws, whole ones, at least one.

    Fractions of one seed are nested, so that more data is the same data and more.
    """
    generator = torch.Generator().manual_seed(seed)
    count, rows = task.demonstrations, task.rows
    start, turn = 2.0 * math.pi * torch.rand(count, 1, generator=generator), torch.rand(count, 1, generator=generator)
    sign = torch.rand(count, 1, generator=generator)
    along = torch.linspace(0.0, task.arc, rows)[None] if rows > 1 else torch.zeros(1, 1)
    angle = start + torch.where(turn < 0.5, -along, along)
    states = torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)
    mode = torch.where(sign < 0.5, -1.0, 1.0)[..., None] * mode_of(task, states)
    actions = mode + task.std * torch.randn(count, rows, 2, generator=generator)
    kept = max(1, round(fraction * count))
    return states[:kept].reshape(-1, 2), actions[:kept].reshape(-1, *SHAPE)


def exact_denoiser(task: ToyTask, schedule: NoisePath) -> ConditionalDenoise:
    """The x0 denoiser that infinite data and a perfect network would give.

    A mode of variance s^2 leaves ``E[a_0 | a_t, mode m] = m + alpha s^2 / v (a_t - alpha m)`` with ``v = alpha^2 s^2 + sigma^2``; the weight of
    mode m is ``sigmoid(2 alpha m . a_t / v)`` for two opposite ones.
    """

    def denoise(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        alpha, sigma = coefficients(schedule, t, x)
        mode = mode_of(task, cond).reshape(x.shape)
        v = alpha**2 * task.std**2 + sigma**2
        # 2 w - 1 = tanh(alpha m . a_t / v)
        balance = torch.tanh(alpha * (mode * x).sum(dim=-1, keepdim=True) / v)
        gain = alpha * task.std**2 / v
        x0: Tensor = gain * x + (1.0 - gain * alpha) * balance * mode
        return x0

    return denoise
