"""Tasks by name. A task is scene additions, a reset and a success condition, in one file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from cdp.config import ConfigError
from cdp.geometry import FloatArray
from cdp_franka_sim.tasks.slide import SlideTask
from cdp_franka_sim.tasks.start import Start


class Task(Protocol):
    """Stateless: whatever an episode needs is in MuJoCo's data."""

    name: str
    dwell_s: float

    def add_to(self, spec: Any) -> None:
        """Add the task's bodies to the MjSpec of the shared scene."""

    def reset(self, data: Any, rng: Any) -> Start:
        """Draw and set the objects' poses in ``data``; return where arm and gripper start."""

    def object_pose(self, data: Any) -> FloatArray:
        """Pose (7,) x y z [m] qx qy qz qw of the object in fr3_link0."""

    def goal_pose(self, data: Any) -> FloatArray:
        """Pose (7,) of the goal in fr3_link0."""

    def distance_m(self, data: Any) -> float:
        """Object to goal, in the table plane [m]."""

    def satisfied(self, data: Any) -> bool:
        """Whether the goal condition holds now; success is when it has held for ``dwell_s``."""


TASKS: dict[str, Callable[[], Task]] = {SlideTask.name: SlideTask}


def make_task(name: str) -> Task:
    """The task called ``name``. Raises :class:`cdp.config.ConfigError` for a name that is not there."""
    if name not in TASKS:
        raise ConfigError(f"task: {name!r} is not one of {', '.join(sorted(TASKS))}")
    return TASKS[name]()


__all__ = ["TASKS", "SlideTask", "Start", "Task", "make_task"]
