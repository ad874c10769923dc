"""A chunk of end-effector actions as a motion in time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cdp.actions import eef_pose
from cdp.geometry import FloatArray, matrix_to_rotvec, rotvec_to_matrix

NS_PER_S = 1_000_000_000


def to_ns(seconds: float) -> int:
    """Whole nanoseconds of a finite time in seconds."""
    return round(seconds * NS_PER_S)


def turn_between(rotation: FloatArray, to_rotation: FloatArray) -> FloatArray:
    """Rotation vector (3,) [rad], in the base frame, that turns one rotation matrix (3, 3) into another."""
    return matrix_to_rotvec(to_rotation @ rotation.T)


@dataclass(frozen=True, eq=False)
class Pose:
    """Position (3,) [m] and rotation matrix (3, 3) in the base frame."""

    position_m: FloatArray
    rotation: FloatArray


def between(a: Pose, b: Pose, share: float) -> Pose:
    """The pose ``share`` of the way from ``a`` to ``b``: straight line and shortest rotation."""
    turn = rotvec_to_matrix(share * turn_between(a.rotation, b.rotation))
    return Pose(a.position_m + share * (b.position_m - a.position_m), turn @ a.rotation)


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
            return between(self._anchor, self._poses[0], min(max(share, 0.0), 1.0))
        index, rest_ns = divmod(at_ns - self._start_ns, self._dt_ns)
        return between(self._poses[index], self._poses[index + 1], rest_ns / self._dt_ns)

    def largest_step(self) -> tuple[float, float]:
        """Largest distance [m] and turn [rad] between neighbouring rows."""
        pairs = list(zip(self._poses, self._poses[1:], strict=False))
        steps = [float(np.linalg.norm(b.position_m - a.position_m)) for a, b in pairs]
        turns = [float(np.linalg.norm(turn_between(a.rotation, b.rotation))) for a, b in pairs]
        return max(steps, default=0.0), max(turns, default=0.0)
