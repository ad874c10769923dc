"""The networks that several studies share: the toy's with both modes learnt, over a sweep of the penalty's weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdp.studies.frame import StudyRun
from cdp.studies.toy_cache import Trained
from cdp.studies.toy_config import Member
from cdp.studies.toy_policies import PENALTIES, Policy, Scale, train_stack
from cdp.studies.toy_task import ARCS

OURS = "cdp-saturating"
GAMMAS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
TARGETS = (0.02, 0.05, 0.1, 0.2)
GAMMA_START = 0.1
#: Updates at which a network of the sweep is kept; studies measure the last.
SNAPSHOTS = (1000, 2000)


@dataclass(frozen=True)
class Weight:
    """A weight of the sweep: a number, or the dual variable of a target violation rate."""

    gamma: float
    target: float | None = None

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.gamma:g}" if self.target is None else f"auto {100 * self.target:g} %"


SWEEP = (*(Weight(gamma) for gamma in GAMMAS), *(Weight(GAMMA_START, target) for target in TARGETS))


def sweep_stack(label: str, run: StudyRun, scale: Scale) -> Trained:
    """The stack of every weight of one penalty, one member a seed; :func:`members_of` says which."""
    return train_stack(PENALTIES[label], sweep_members(run.seeds), scale, run.cache, ARCS)


def sweep_members(seeds: Sequence[int]) -> list[Member]:
    """Every weight with every seed."""
    return [Member(seed=seed, gamma=weight.gamma, target_violation=weight.target) for weight in SWEEP for seed in seeds]


def members_of(weight: Weight, seeds: int) -> range:
    """Where the networks of a weight are in a sweep's stack."""
    first = SWEEP.index(weight) * seeds
    return range(first, first + seeds)


def policies_of(stack: Trained, members: Sequence[int], scale: Scale) -> list[Policy]:
    """The policies of ``members`` at the end of training."""
    return [Policy(stack.denoiser(member, scale.snapshots[-1])) for member in members]
