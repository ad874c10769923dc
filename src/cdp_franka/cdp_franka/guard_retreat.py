"""A slow way out, as a moving reference for the commanded pose: straight up and to a safe place, or back along the way that the arm came."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from cdp.geometry import FloatArray
from cdp_franka.chunk import Pose, PoseMotion, at_rest
from cdp_franka.guard_config import GuardConfig
from cdp_franka.rotation import small_turn, turn_between, turn_matrix

# A reference that is this far ahead waits: where the arm is held back, corners are not cut.
_WAIT_M = 0.01
_WAIT_RAD = 0.1
# The reference goes a little slower than the arm may, so that the arm keeps up.
_PACE = 0.9
_ARRIVED_M = 1e-3
_ARRIVED_RAD = 1e-2
_TRACE_STEP_M = 0.005
_TRACE_STEP_RAD = 0.05


class Trace:
    """The way that the commanded pose came since it was engaged: poses a few millimetres apart, the oldest given up first."""

    def __init__(self, length_m: float) -> None:
        """Keeps about ``length_m`` of way."""
        self._poses: deque[Pose] = deque(maxlen=max(2, math.ceil(length_m / _TRACE_STEP_M)))

    def note(self, pose: Pose) -> None:
        """Remember ``pose`` if it is a step away from the last one."""
        if self._poses and not _apart(self._poses[-1], pose):
            return
        self._poses.append(pose)

    def back(self, config: GuardConfig) -> list[Pose]:
        """The poses, newest first; those from before it came into the box at the box's wall."""
        low_m, high_m = config.box.low_m, config.box.high_m
        return [Pose(np.clip(pose.position_m, low_m, high_m), pose.rotation) for pose in reversed(self._poses)]


def _apart(a: Pose, b: Pose) -> bool:
    return math.dist(a.position_m, b.position_m) > _TRACE_STEP_M or small_turn(a.rotation, b.rotation) > _TRACE_STEP_RAD


def way_up(pose: Pose, config: GuardConfig) -> list[Pose]:
    """Straight up to the height of the safe place, over to it, and there: its orientation stays as it is."""
    safe = np.clip(np.array(config.retreat_position_m), config.box.low_m, config.box.high_m)
    above = pose.position_m.copy()
    above[2] = max(above[2], safe[2])
    over = np.array([safe[0], safe[1], above[2]])
    return [Pose(p, pose.rotation) for p in (above, over, safe)]


class Retreat:
    """A reference that goes from pose to pose at most of ``retreat_speed_m_s`` and stops at the last."""

    def __init__(self, begin: Pose, way: list[Pose], config: GuardConfig) -> None:
        """``begin``: the commanded pose; ``way``: where to go, in order."""
        self._way, self._leg, self._share, self._from = way, 0, 0.0, begin
        self._speed, self._turn = _PACE * config.retreat_speed_m_s, _PACE * config.retreat_speed_rad_s

    def done(self, commanded: Pose) -> bool:
        """Whether the commanded pose has come to the end."""
        if self._leg < len(self._way):
            return False
        return self._gap(commanded, self._from) < 1.0

    def advance(self, commanded: Pose, dt_s: float) -> PoseMotion:
        """The reference ``dt_s`` later; it waits for a commanded pose that is behind it."""
        here, velocity, angular = self._here()
        behind_m = float(np.linalg.norm(here.position_m - commanded.position_m))
        behind_rad = float(np.linalg.norm(turn_between(commanded.rotation, here.rotation)))
        if behind_m > _WAIT_M or behind_rad > _WAIT_RAD:
            return at_rest(here)
        self._share += dt_s / max(self._seconds(), 1e-9) if self._leg < len(self._way) else 0.0
        if self._share >= 1.0 and self._leg < len(self._way):
            self._from, self._leg, self._share = self._way[self._leg], self._leg + 1, 0.0
        here, velocity, angular = self._here()
        return PoseMotion(here, velocity, np.zeros(3), angular, np.zeros(3))

    @staticmethod
    def _gap(a: Pose, b: Pose) -> float:
        """Distance in units of what counts as arrived."""
        metres = float(np.linalg.norm(b.position_m - a.position_m)) / _ARRIVED_M
        return max(metres, float(np.linalg.norm(turn_between(a.rotation, b.rotation))) / _ARRIVED_RAD)

    def _step(self) -> tuple[FloatArray, FloatArray]:
        goal = self._way[self._leg]
        return goal.position_m - self._from.position_m, turn_between(self._from.rotation, goal.rotation)

    def _seconds(self) -> float:
        step, turn = self._step()
        return max(float(np.linalg.norm(step)) / self._speed, float(np.linalg.norm(turn)) / self._turn)

    def _here(self) -> tuple[Pose, FloatArray, FloatArray]:
        if self._leg >= len(self._way):
            return self._from, np.zeros(3), np.zeros(3)
        (step, turn), seconds = self._step(), max(self._seconds(), 1e-9)
        pose = Pose(self._from.position_m + self._share * step, turn_matrix(self._share * turn) @ self._from.rotation)
        return pose, step / seconds, turn / seconds
