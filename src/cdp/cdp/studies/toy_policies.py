"""The policies that studies of the toy compare, and how one is measured: same seeds, same data, same noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cdp.contraction.config import ContractionConfig
from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.path import NoisePath
from cdp.diffusion.schedule import Schedule
from cdp.studies.frame import spread
from cdp.studies.measures import coverage, hit_rate, sampler_lipschitz, sampler_of, seed_std, within_std
from cdp.studies.toy_cache import Trained, trained
from cdp.studies.toy_config import Member, ToyTraining
from cdp.studies.toy_task import SHAPE, ToyTask, mode_of, states_on_circle

#: The weight of each penalty, and where it is not the default, the times that it looks at.
PENALTIES = {
    "cdp-saturating": ContractionConfig(label="cdp-saturating", gamma=0.1),
    "cdp-hinge": ContractionConfig(label="cdp-hinge", gamma=0.1),
    "cdp-frobenius": ContractionConfig(label="cdp-frobenius", gamma=0.3, t_max=0.3),
    "cdp-step": ContractionConfig(label="cdp-step", gamma=0.1),
}
BASELINE = ContractionConfig(label="diffusion", gamma=0.0)
WEIGHT_DECAYS = (0.1, 1.0)
STEPS = (3, 5, 50)
REFERENCE_STEPS = 50
_NOISE_SEED = 20_240_601


@dataclass(frozen=True)
class Scale:
    """How large a study is: the full one, or the one of seconds."""

    snapshots: tuple[int, ...]
    width: int
    states: int
    noises: int
    lipschitz_steps: int = REFERENCE_STEPS

    @classmethod
    def of(cls, quick: bool, snapshots: tuple[int, ...] = (750, 1500, 2250, 3000, 4500)) -> Scale:
        """The scale of a run; ``snapshots`` are those of the full study."""
        return cls((10,), 16, 4, 16, lipschitz_steps=5) if quick else cls(snapshots, 64, 64, 32)


@dataclass(frozen=True)
class Policy:
    """A denoiser and the scale of the noise that it starts from."""

    denoise: ConditionalDenoise
    temperature: float = 1.0


def train_stack(
    contraction: ContractionConfig, members: Sequence[Member], scale: Scale, cache: Path, task: ToyTask | None = None, **settings: Any
) -> Trained:
    """The stack of ``members`` under one penalty, trained or from the cache; ``settings`` are further ones of :class:`ToyTraining`."""
    config = ToyTraining(
        tuple(members),
        contraction=contraction,
        task=task if task is not None else ToyTask(),
        snapshots=scale.snapshots,
        width=scale.width,
        **settings,
    )
    return trained(config, cache)


def baselines(seeds: Sequence[int], scale: Scale, cache: Path) -> Trained:
    """Diffusion without a penalty: one member a seed without weight decay, then one a seed for each of :data:`WEIGHT_DECAYS`."""
    members = [Member(seed=seed, weight_decay=decay) for decay in (0.0, *WEIGHT_DECAYS) for seed in seeds]
    return train_stack(BASELINE, members, scale, cache)


def penalised(label: str, seeds: Sequence[int], scale: Scale, cache: Path) -> Trained:
    """Diffusion with the penalty ``label``, one member a seed."""
    config = PENALTIES[label]
    return train_stack(config, [Member(seed=seed, gamma=config.first_gamma) for seed in seeds], scale, cache)


@dataclass(frozen=True)
class Bench:
    """The states and the noise that every policy is measured with: ``states`` (S, 2), ``noise`` (S, Z, 1, 2)."""

    task: ToyTask
    states: Tensor
    noise: Tensor
    lipschitz_steps: int = REFERENCE_STEPS
    schedule: NoisePath = field(default_factory=Schedule)

    @classmethod
    def of(cls, task: ToyTask, scale: Scale) -> Bench:
        """Evenly spaced states, and noise of a seed of its own."""
        states = states_on_circle(scale.states)
        noise = torch.randn((scale.states, scale.noises, *SHAPE), generator=torch.Generator().manual_seed(_NOISE_SEED))
        return cls(task, states, noise, scale.lipschitz_steps)

    @property
    def mode(self) -> Tensor:
        """The mode (S, 2) of each state."""
        return mode_of(self.task, self.states)

    @torch.no_grad()
    def actions(self, policy: Policy, steps: int, solver: str = "ddim", eta: float = 1.0) -> Tensor:
        """Actions (S, Z, 2) of a policy for every state and noise."""
        count = self.noise.shape[1]
        fn = sampler_of(policy.denoise, self.states.repeat_interleave(count, 0), steps, solver, self.schedule, policy.temperature, eta)
        return fn(self.noise.flatten(0, 1)).reshape(len(self.states), count, -1)

    def lipschitz(self, policy: Policy, noises: int | None = None) -> Tensor:
        """Local Lipschitz constants of the sampler at every state and the first ``noises`` of its noise, all by default."""
        noise = self.noise[:, :noises]
        cond = self.states.repeat_interleave(noise.shape[1], 0)
        return sampler_lipschitz(policy.denoise, cond, noise.flatten(0, 1), self.lipschitz_steps, "ddim", self.schedule, policy.temperature)

    def spread_figures(self, actions: Tensor) -> dict[str, float]:
        """Coverage and spread over the noise of actions (S, Z, 2)."""
        return {"coverage": coverage(actions, self.mode), "std": seed_std(actions), "within_std": within_std(actions, self.mode)}

    def measure(self, policy: Policy, noises: int | None = None) -> dict[str, float]:
        """Hit rates at :data:`STEPS`; spread, coverage and local Lipschitz constants at :data:`REFERENCE_STEPS`."""
        actions = {steps: self.actions(policy, steps) for steps in STEPS}
        figures = {f"hits_{steps}": hit_rate(value, self.mode) for steps, value in actions.items()}
        constants = self.lipschitz(policy, noises=noises)
        return {
            **figures,
            "lipschitz_median": float(constants.median()),
            "lipschitz_p999": float(constants.quantile(0.999)),
            **self.spread_figures(actions[REFERENCE_STEPS]),
        }


def measure_seeds(bench: Bench, policies: Sequence[Policy], noises: int | None = None) -> dict[str, dict[str, Any]]:
    """:meth:`Bench.measure` of one policy a seed, each figure with its :func:`cdp.studies.frame.spread`."""
    return {name: spread(values) for name, values in by_figure([bench.measure(policy, noises) for policy in policies]).items()}


def by_figure(measured: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """One mapping a seed, turned into one list a figure."""
    return {name: [figures[name] for figures in measured] for name in measured[0]}
