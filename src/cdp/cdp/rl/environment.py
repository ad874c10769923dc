"""Tasks to act in: Gymnasium's environments, stepped side by side. Gymnasium is optional and imported only here, when a task is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

GYMNASIUM = "gymnasium==1.4.0"
_SIDE_BY_SIDE = 32

FloatRows = NDArray[np.float32]
#: Observations (B, P) -> actions (B, D) in the task's own unit; row i belongs to the i-th of the given slots (B,).
Act = Callable[[FloatRows, NDArray[np.int64]], NDArray[Any]]
#: Called after each finished episode with the number finished.
Progress = Callable[[int], None]


class TaskError(RuntimeError):
    """A task that cannot be made here; the message says what to do."""


class Task(Protocol):
    """What a rollout needs of an environment; each Gymnasium environment with box spaces is one."""

    observation_space: Any
    action_space: Any

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """First observation (P,) of a new episode."""
        ...

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Next observation (P,), reward, terminated, truncated, information."""
        ...


@dataclass(frozen=True)
class Episode:
    """Observations (L + 1, P), actions (L, D) and rewards (L,) of one episode; ``terminated`` by the task, or cut off by its time limit."""

    observations: FloatRows
    actions: FloatRows
    rewards: NDArray[np.float64]
    terminated: bool

    @property
    def episode_return(self) -> float:
        """Sum of the rewards, not discounted."""
        return float(self.rewards.sum())


def make_task(name: str) -> Task:
    """The Gymnasium environment ``name``, e.g. ``Reacher-v5``. Raises :class:`TaskError` where Gymnasium, the task or a box space is missing."""
    try:
        import gymnasium
    except ImportError:
        raise TaskError(f"acting in a task needs Gymnasium, which is not installed: pip install {GYMNASIUM}") from None
    try:
        task: Task = gymnasium.make(name)
    except gymnasium.error.Error as error:
        raise TaskError(f"{name}: Gymnasium cannot make this task: {error}") from None
    for space in (task.observation_space, task.action_space):
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            raise TaskError(f"{name}: its spaces are {task.observation_space} and {task.action_space}; vectors of numbers are needed")
    return task


def make_tasks(name: str, episodes: int) -> list[Task]:
    """As many copies of the task as ``episodes`` episodes can use side by side."""
    return [make_task(name) for _ in range(max(1, min(episodes, _SIDE_BY_SIDE)))]


def rollout(act: Act, tasks: Sequence[Task], seeds: Sequence[int], progress: Progress | None = None) -> list[Episode]:
    """One episode for each of ``seeds``, in their order; up to ``len(tasks)`` of them run side by side, so that ``act`` sees a batch.

    ``act`` gets the positions in ``seeds`` as its slots. Actions are clipped to the task's bounds, and recorded as clipped.
    """
    done: dict[int, Episode] = {}
    for first in range(0, len(seeds), len(tasks)):
        slots = list(range(first, min(first + len(tasks), len(seeds))))
        running = {slot: _Running(tasks[slot - first], seeds[slot]) for slot in slots}
        while running:
            rows = np.stack([one.observations[-1] for one in running.values()])
            actions = act(rows, np.array(list(running), dtype=np.int64))
            for slot, action in zip(list(running), actions, strict=True):
                episode = running[slot].step(action)
                if episode is not None:
                    done[slot] = episode
                    del running[slot]
                    if progress is not None:
                        progress(len(done))
    return [done[slot] for slot in range(len(seeds))]


class _Running:
    """An episode in progress."""

    def __init__(self, task: Task, seed: int) -> None:
        self.task = task
        self.observations = [np.asarray(task.reset(seed=seed)[0], dtype=np.float32)]
        self.actions: list[FloatRows] = []
        self.rewards: list[float] = []

    def step(self, action: NDArray[Any]) -> Episode | None:
        """Act once; the episode where this ended it."""
        space = self.task.action_space
        clipped = np.clip(action, space.low, space.high).astype(np.float32)
        observation, reward, terminated, truncated, _ = self.task.step(clipped)
        self.observations.append(np.asarray(observation, dtype=np.float32))
        self.actions.append(clipped)
        self.rewards.append(float(reward))
        if not (terminated or truncated):
            return None
        return Episode(np.stack(self.observations), np.stack(self.actions), np.array(self.rewards), bool(terminated))
