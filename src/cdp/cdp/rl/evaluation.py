"""How good a policy is in its task, and how much its sampler spreads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from cdp.contraction.report import measure_sampler
from cdp.rl.environment import Progress, make_tasks, rollout
from cdp.rl.policy import RLPolicy
from cdp.rl.transitions import Transitions

# Observations and noise seeds of the sampler's figures.
_OBSERVATIONS = 64
_SEEDS = 16


def evaluate(policy: RLPolicy, episodes: int, seed: int, progress: Progress | None = None) -> dict[str, Any]:
    """Returns of ``episodes`` episodes that start from seeds ``seed``, ``seed + 1``, ...: each, their mean, and their standard deviation.

    Raises ``TaskError`` where the task cannot be made or has other widths than the policy.
    """
    tasks = make_tasks(policy.config.task, episodes)
    seeds = [seed + i for i in range(episodes)]
    played = rollout(lambda observations, _: policy.act(observations), tasks, seeds, progress)
    returns = [episode.episode_return for episode in played]
    return {
        "episodes": episodes,
        "seed": seed,
        "returns": returns,
        "return_mean": float(np.mean(returns)),
        "return_std": float(np.std(returns, ddof=1)) if episodes > 1 else 0.0,
        "length_mean": float(np.mean([len(episode.rewards) for episode in played])),
    }


def measure(policy: RLPolicy, data: Transitions, seed: int = 0) -> dict[str, Any]:
    """``measure_sampler`` of the actor on observations of the data set, the same rows for the same seed; no selection by Q."""
    rows = np.random.default_rng(seed).choice(len(data), size=min(_OBSERVATIONS, len(data)), replace=False)
    networks, config = policy.networks, policy.config
    cond = networks.normalise_observation(torch.from_numpy(data.observation[rows]))
    shape = (1, networks.action_width)
    return measure_sampler(networks.denoise, cond, shape, _SEEDS, config.sampler.steps, config.sampler.solver, config.diffusion, seed)


def mean_and_spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and sample standard deviation (0 for a single value)."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}
