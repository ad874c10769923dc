"""When an episode counts as a success, in any simulator whose MuJoCo data hold the task's objects."""

from __future__ import annotations

from typing import Any, Protocol

JUDGE_PERIOD_S = 0.01


class Condition(Protocol):
    """What is judged of a task."""

    dwell_s: float

    def satisfied(self, data: Any) -> bool:
        """Whether the goal condition holds now."""


class Judge:
    """Success is when the task's condition has held without a break for its dwell time."""

    def __init__(self, task: Condition) -> None:
        self._task = task
        self._satisfied_s = 0.0

    def begin(self) -> None:
        """An episode begins."""
        self._satisfied_s = 0.0

    def look(self, data: Any) -> None:
        """To be called each :data:`JUDGE_PERIOD_S` of simulated time."""
        self._satisfied_s = self._satisfied_s + JUDGE_PERIOD_S if self._task.satisfied(data) else 0.0

    @property
    def success(self) -> bool:
        """Whether the condition has held for long enough, up to the last look."""
        return self._satisfied_s >= self._task.dwell_s - 0.5 * JUDGE_PERIOD_S
