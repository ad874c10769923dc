"""The cross-entropy method on linear policies (Szita and Lorincz 2006): behaviour of every skill, from none to good, without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdp.rl.environment import Episode, FloatRows, Task, rollout

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LinearPolicy:
    """``action = W (observation - mean) / std + b``; ``weights`` is [W b], (D, P + 1)."""

    weights: FloatArray
    mean: FloatArray
    std: FloatArray


@dataclass(frozen=True)
class Level:
    """The policy that a search stood at after ``iteration`` iterations, and the mean return of its population there."""

    iteration: int
    policy: LinearPolicy
    population_return: float


def cross_entropy_search(
    tasks: list[Task],
    iterations: int,
    population: int,
    initial_spread: float,
    rng: np.random.Generator,
    progress: Callable[[int, float], None] | None = None,
) -> list[Level]:
    """The ``iterations + 1`` policies that a search passes through, the first of them all zeros.

    Each iteration draws ``population`` weights from a diagonal Gaussian, at first of standard deviation ``initial_spread``, plays one episode with
    each, and refits the Gaussian to the best fifth; an extra variance that fades out keeps it from collapsing early. Observations are standardised
    by what was seen in earlier iterations.
    """
    width, count = int(tasks[0].action_space.shape[0]), int(tasks[0].observation_space.shape[0])
    seen = _Moments(count)
    centre, spread = np.zeros((width, count + 1)), np.full((width, count + 1), initial_spread)
    levels = [Level(0, LinearPolicy(centre, *seen.standard), float("nan"))]
    elite = max(2, population // 5)
    for iteration in range(1, iterations + 1):
        drawn = centre + spread * rng.standard_normal((population, *centre.shape))
        mean, std = seen.standard
        policies = [LinearPolicy(weights, mean, std) for weights in drawn]
        episodes = play(policies, tasks, rng)
        returns = np.array([episode.episode_return for episode in episodes])
        best = drawn[np.argsort(returns)[-elite:]]
        extra = 0.1 * initial_spread**2 * max(0.0, 1.0 - 2.0 * iteration / iterations)
        centre, spread = best.mean(axis=0), np.sqrt(best.var(axis=0) + extra)
        for episode in episodes:
            seen.add(episode.observations)
        levels.append(Level(iteration, LinearPolicy(centre, mean, std), float(returns.mean())))
        if progress is not None:
            progress(iteration, float(returns.mean()))
    return levels


def play(policies: list[LinearPolicy], tasks: list[Task], rng: np.random.Generator, noise: FloatArray | None = None) -> list[Episode]:
    """One episode of each policy; on its actions independent normal noise of standard deviation ``noise`` (N,), in half ranges."""
    space = tasks[0].action_space
    half = 0.5 * (np.asarray(space.high, dtype=np.float64) - np.asarray(space.low, dtype=np.float64))
    weights, mean, std = (np.stack([getattr(policy, name) for policy in policies]) for name in ("weights", "mean", "std"))

    def act(observations: FloatRows, slots: NDArray[np.int64]) -> FloatArray:
        rows = (observations - mean[slots]) / std[slots]
        actions: FloatArray = np.einsum("ndp,np->nd", weights[slots, :, :-1], rows) + weights[slots, :, -1]
        if noise is not None:
            actions = actions + noise[slots, None] * half * rng.standard_normal(actions.shape)
        return actions

    seeds = rng.integers(0, 2**31 - 1, len(policies)).tolist()
    return rollout(act, tasks, seeds)


class _Moments:
    """Running mean and variance of observations; a standard normal has been seen once before the first."""

    def __init__(self, count: int) -> None:
        self._count, self._mean, self._square = 1.0, np.zeros(count), np.ones(count)

    def add(self, rows: FloatRows) -> None:
        values = rows.astype(np.float64)
        total = self._count + len(values)
        self._mean = (self._count * self._mean + values.sum(axis=0)) / total
        self._square = (self._count * self._square + (values**2).sum(axis=0)) / total
        self._count = total

    @property
    def standard(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (P,), floored: what never varies is not blown up."""
        return self._mean, np.sqrt(np.maximum(self._square - self._mean**2, 1e-4))
