"""What a sampled action does as the state changes and the noise stays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cdp.contraction.estimators import exact_jacobian
from cdp.studies.measures import hits, sampler_of
from cdp.studies.toy_policies import Bench, Policy
from cdp.studies.toy_task import ToyTask, mode_of

#: Standard deviations of the noise on an observed state, whose circle has radius 1.
STATE_NOISES = (0.01, 0.03)
_NOISE_SEED = 20_240_604


def expert_gain(task: ToyTask) -> float:
    """``|d m / d u| = radius k``: how fast a mode moves as the state goes round, the expert keeping its mode."""
    return task.radius * task.turns


@dataclass(frozen=True)
class Walk:
    """Angles (K,) of states all round the circle, and the actions (Z, K, 2) there from each of Z noise draws, held all the way."""

    angles: Tensor
    actions: Tensor


class StateBench:
    """A :class:`Bench` that holds the noise and moves the state."""

    def __init__(self, bench: Bench, noises: int, walk_states: int) -> None:
        self.bench, self.task = bench, bench.task
        self.noise = bench.noise[:, :noises].flatten(0, 1)
        self.states = bench.states.repeat_interleave(min(noises, bench.noise.shape[1]), 0)
        self._walk_states = walk_states

    def measure(self, policy: Policy) -> dict[str, float]:
        """Gains along and across the circle, switches of the mode on the way round, and what noise on the state does."""
        return {**self.gains(policy), **self.walked(self.walk(policy)), **self.shaken(policy)}

    def jacobian(self, policy: Policy) -> tuple[Tensor, Tensor]:
        """Actions (N, 2) and their exact Jacobians (N, 2, 2) to the state, through the whole sampler."""

        def fn(states: Tensor) -> Tensor:
            return self._actions(policy, states, self.noise).flatten(1)

        with torch.no_grad():
            actions = fn(self.states)
        return actions, exact_jacobian(fn, self.states).detach()

    def gains(self, policy: Policy) -> dict[str, float]:
        """Length of the action's change by unit change of the state along the circle and across it.

        ``error`` is the median, over actions that hit, of the distance of the derivative along the circle from that of the mode that is hit,
        relative to :func:`expert_gain`.
        """
        actions, jacobian = self.jacobian(policy)
        along = torch.stack([-self.states[:, 1], self.states[:, 0]], dim=1)
        forward, across = ((jacobian @ d[:, :, None])[:, :, 0] for d in (along, self.states))
        mode = mode_of(self.task, self.states)
        # m turns k times as the state goes round once: its derivative is k times m, turned by a right angle.
        slope = self.task.turns * torch.stack([-mode[:, 1], mode[:, 0]], dim=1)
        side = torch.sign((actions * mode).sum(dim=1, keepdim=True))
        hit = hits(actions[:, None], mode).any(dim=-1)[:, 0]
        error = (forward - side * slope).norm(dim=1) / expert_gain(self.task)
        kept = error[hit] if bool(hit.any()) else error
        length = forward.norm(dim=1)
        return {
            "hits_50": float(hit.float().mean()),
            "along_median": float(length.median()),
            "along_p999": float(length.quantile(0.999)),
            "across_median": float(across.norm(dim=1).median()),
            "error": float(kept.median()),
        }

    @torch.no_grad()
    def walk(self, policy: Policy) -> Walk:
        """All round the circle, from the noise of the first state."""
        noise = self.bench.noise[0]
        angles = torch.arange(self._walk_states + 1) * (2.0 * math.pi / self._walk_states)
        states = torch.stack([torch.cos(angles), torch.sin(angles)], dim=1)
        actions = self._actions(policy, states.repeat(len(noise), 1), noise.repeat_interleave(len(states), 0))
        return Walk(angles, actions.reshape(len(noise), len(states), 2))

    def walked(self, walk: Walk) -> dict[str, float]:
        """Switches of the side in a turn, and how far the action went, relative to the expert's ``2 pi radius k``: without the switches and with."""
        states = torch.stack([torch.cos(walk.angles), torch.sin(walk.angles)], dim=1)
        side = torch.sign((walk.actions * mode_of(self.task, states)).sum(dim=-1))
        switched = side[:, 1:] != side[:, :-1]
        moved = (walk.actions[:, 1:] - walk.actions[:, :-1]).norm(dim=-1)
        whole = 2.0 * math.pi * expert_gain(self.task)
        return {
            "switches": float(switched.float().sum(dim=1).mean()),
            "smooth_length": float((moved * ~switched).sum(dim=1).mean()) / whole,
            "length": float(moved.sum(dim=1).mean()) / whole,
        }

    @torch.no_grad()
    def shaken(self, policy: Policy) -> dict[str, float]:
        """For each of :data:`STATE_NOISES`: share of actions that change side, and root mean square change of those that do not."""
        still = self._actions(policy, self.states, self.noise)[:, 0]
        mode = mode_of(self.task, self.states)
        unit = torch.randn(self.states.shape, generator=torch.Generator().manual_seed(_NOISE_SEED))
        found = {}
        for std in STATE_NOISES:
            moved = self._actions(policy, self.states + std * unit, self.noise)[:, 0]
            flipped = torch.sign((still * mode).sum(dim=1)) != torch.sign((moved * mode).sum(dim=1))
            kept = (moved - still)[~flipped].square().sum(dim=1)
            found[f"flips_{std:g}"] = float(flipped.float().mean())
            found[f"change_{std:g}"] = float(kept.mean().sqrt())
        return found

    def _actions(self, policy: Policy, states: Tensor, noise: Tensor) -> Tensor:
        bench = self.bench
        return sampler_of(policy.denoise, states, bench.lipschitz_steps, "ddim", bench.schedule, policy.temperature)(noise)
