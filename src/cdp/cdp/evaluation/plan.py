"""Which policy runs from which start, in which order: a randomised complete block design, every start a block of one rollout a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Candidate:
    """A policy under evaluation: the name it is shown by, the folder of its bundle, and the SHA-256 of the bundle's manifest."""

    name: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Rollout:
    """One planned rollout. ``start`` counts from 0; ``seed`` draws the start's poses and the sampler's noise."""

    index: int
    policy: str
    start: int
    seed: int


def make_plan(policies: Sequence[str], starts: int, seed: int, order_seed: int) -> tuple[Rollout, ...]:
    """Every policy from each of ``starts`` starts with the seeds ``seed``, ``seed + 1``, ...; within a start the order is drawn from ``order_seed``.

    What drifts over the hours, light or friction or the operator's eye, so meets all policies alike (Montgomery, Design and Analysis of
    Experiments, on blocking). Raises ValueError for no policy, for two of one name, or for no start.
    """
    if not policies or len(set(policies)) != len(policies) or starts < 1:
        raise ValueError(f"{len(policies)} policies ({', '.join(policies)}) from {starts} starts: at least one of each, and no name twice")
    order = np.random.default_rng(order_seed)
    plan: list[Rollout] = []
    for start in range(starts):
        for k in order.permutation(len(policies)):
            plan.append(Rollout(len(plan), policies[k], start, seed + start))
    return tuple(plan)
