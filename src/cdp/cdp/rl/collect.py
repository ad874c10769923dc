"""A mixed data set for offline RL: a linear policy at several stages of its search, with noise on its actions, as a replay of training would hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cdp.rl.environment import Episode, Task, make_tasks
from cdp.rl.search import Level, cross_entropy_search, play
from cdp.rl.transitions import write_minari

#: Called with the work done and all of it, in iterations and then in transitions, and a line to show.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Recipe:
    """What a data set is made from; written into the file beside the data."""

    task: str
    transitions: int = 100_000
    """At least this many, an equal share from each level."""
    levels: int = 5
    """Stages of the search that act, evenly spaced from its first iteration on to its last."""
    noise: float = 0.3
    """Largest standard deviation of the noise on an episode's actions, in half ranges; each episode draws its own."""
    iterations: int = 20
    population: int = 24
    spread: float = 1.0
    """Standard deviation of the search's first weights: action per standardised observation, in the action's unit."""
    seed: int = 0


@dataclass(frozen=True)
class Collected:
    """Where the data are, and what behaved in them: the mean return and the number of episodes of each level, worst first by stage."""

    path: Path
    transitions: int
    episodes: int
    mean_return: float
    level_returns: tuple[float, ...]


def collect(path: Path, recipe: Recipe, progress: Progress | None = None) -> Collected:
    """Search, act, and write the episodes in Minari's layout. Raises ``TaskError`` and OSError."""
    rng = np.random.default_rng(recipe.seed)
    tasks = make_tasks(recipe.task, recipe.population)

    def searching(iteration: int, value: float) -> None:
        if progress is not None:
            progress(iteration, recipe.iterations, f"searching: return {value:.4g}")

    found = cross_entropy_search(tasks, recipe.iterations, recipe.population, recipe.spread, rng, searching)
    stages = np.linspace(recipe.iterations / recipe.levels, recipe.iterations, recipe.levels).round().astype(int)
    share = -(-recipe.transitions // recipe.levels)
    episodes: list[Episode] = []
    means: list[float] = []
    for number, stage in enumerate(stages):

        def acting(count: int, before: int = number * share) -> None:
            if progress is not None:
                progress(before + min(count, share), recipe.levels * share, "acting")

        acted = _act(found[stage], tasks, share, recipe.noise, rng, acting)
        means.append(float(np.mean([episode.episode_return for episode in acted])))
        episodes += acted
    counts = sum(len(episode.rewards) for episode in episodes)
    attributes = {"task": recipe.task, "recipe": json.dumps(vars(recipe)), "level_returns": means}
    write_minari(path, [_arrays(episode) for episode in episodes], attributes)
    return Collected(path, counts, len(episodes), float(np.mean([episode.episode_return for episode in episodes])), tuple(means))


def _act(level: Level, tasks: list[Task], share: int, noise: float, rng: np.random.Generator, progress: Callable[[int], None]) -> list[Episode]:
    """Episodes of one level with ``share`` transitions or more in all."""
    made: list[Episode] = []
    count = 0
    while count < share:
        # As many at once as the last ones suggest are missing: a long-lived policy must not overshoot its share by a whole row of tasks.
        length = count / len(made) if made else float("inf")
        batch = int(min(len(tasks), max(1, (share - count) // length))) if made else 2
        acted = play([level.policy] * batch, tasks, rng, noise * rng.random(batch))
        made += acted
        count += sum(len(episode.rewards) for episode in acted)
        progress(count)
    return made


def _arrays(episode: Episode) -> dict[str, np.ndarray]:
    ends = np.zeros(len(episode.rewards), dtype=bool)
    ends[-1] = True
    return {
        "observations": episode.observations,
        "actions": episode.actions,
        "rewards": episode.rewards,
        "terminations": ends & episode.terminated,
        "truncations": ends & (not episode.terminated),
    }
