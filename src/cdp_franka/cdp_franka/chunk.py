"""A chunk of end-effector actions as a motion in time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cdp.actions import eef_pose
from cdp.geometry import FloatArray
from cdp_franka.rotation import turn_between, turn_matrix

NS_PER_S = 1_000_000_000


def to_ns(seconds: float) -> int:
    """Whole nanoseconds of a finite time in seconds."""
    return round(seconds * NS_PER_S)


@dataclass(frozen=True, eq=False)
class Pose:
    """Position (3,) [m] and rotation matrix (3, 3) in the base frame."""

    position_m: FloatArray
    rotation: FloatArray


def _between(a: Pose, b: Pose, turn: FloatArray, share: float) -> Pose:
    """The pose ``share`` of the way from ``a`` to ``b``: straight line and shortest rotation, of which ``turn`` (3,) is the whole."""
    return Pose(a.position_m + share * (b.position_m - a.position_m), turn_matrix(share * turn) @ a.rotation)


class ChunkMotion:
    """Where a chunk wants the end effector at a time.

    From the ``anchor`` (the commanded pose when the chunk came) to row 0 while that lies ahead, then from row to row, then at the last row. The
    gripper gets the width of the row being headed for.
    """

    def __init__(self, rows: FloatArray, start_ns: int, dt_s: float, anchor: Pose, anchor_ns: int) -> None:
        """``rows`` (T >= 1, 10). Raises ValueError where a 6-D rotation is degenerate."""
        positions, rotations, widths = eef_pose(rows)
        self._poses = [Pose(p, r) for p, r in zip(positions, rotations, strict=True)]
        self._widths_m = widths
        self._turns = [turn_between(a.rotation, b.rotation) for a, b in zip(self._poses, self._poses[1:], strict=False)]
        self._anchor_turn = turn_between(anchor.rotation, self._poses[0].rotation)
        self._start_ns, self._dt_ns = start_ns, to_ns(dt_s)
        self._anchor, self._anchor_ns = anchor, anchor_ns

    @property
    def end_ns(self) -> int:
        """The time that the last row is for."""
        return self._start_ns + (len(self._poses) - 1) * self._dt_ns

    def row(self, at_ns: int) -> int:
        """Index of the row being headed for."""
        index = math.ceil((at_ns - self._start_ns) / self._dt_ns)
        return min(max(index, 0), len(self._poses) - 1)

    def heading(self, at_ns: int) -> tuple[Pose, float]:
        """Pose and gripper width [m] of the row being headed for."""
        row = self.row(at_ns)
        return self._poses[row], float(self._widths_m[row])

    def pose(self, at_ns: int) -> Pose:
        """The interpolated pose."""
        if at_ns >= self.end_ns:
            return self._poses[-1]
        if at_ns < self._start_ns:
            span = self._start_ns - self._anchor_ns
            share = (at_ns - self._anchor_ns) / span if span > 0 else 1.0
            return _between(self._anchor, self._poses[0], self._anchor_turn, min(max(share, 0.0), 1.0))
        index, rest_ns = divmod(at_ns - self._start_ns, self._dt_ns)
        return _between(self._poses[index], self._poses[index + 1], self._turns[index], rest_ns / self._dt_ns)

    def largest_step(self) -> tuple[float, float]:
        """Largest distance [m] and turn [rad] between neighbouring rows."""
        steps = [float(np.linalg.norm(b.position_m - a.position_m)) for a, b in zip(self._poses, self._poses[1:], strict=False)]
        turns = [float(np.linalg.norm(turn)) for turn in self._turns]
        return max(steps, default=0.0), max(turns, default=0.0)
