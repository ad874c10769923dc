"""How far a policy's actions are from the expert's, as distributions."""

from __future__ import annotations

import torch
from torch import Tensor

from cdp.studies.toy_task import ToyTask, mode_of


def expert_actions(task: ToyTask, states: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Actions (S, ``count``, 2) that the expert takes in states (S, 2)."""
    sign = torch.where(torch.rand(len(states), count, 1, generator=generator) < 0.5, -1.0, 1.0)
    return sign * mode_of(task, states)[:, None] + task.std * torch.randn(len(states), count, 2, generator=generator)


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """Energy distance ``2 E|X - Y| - E|X - X'| - E|Y - Y'|`` of samples x (S, Z, D) and y (S, W, D), without bias: (S,).

    0 for equal distributions (Szekely and Rizzo, 2013); an estimate may be a little below.
    """
    between = torch.cdist(x, y).mean(dim=(1, 2))
    return 2.0 * between - _within(x) - _within(y)


def _within(x: Tensor) -> Tensor:
    count = x.shape[1]
    # The distances of a sample to itself are no distances of two samples.
    return torch.cdist(x, x).sum(dim=(1, 2)) / (count * (count - 1))
