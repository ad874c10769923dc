"""A chunk of end-effector actions as a motion in time.

Between two rows the position is the cubic that has each row's velocity there, the mean of the neighbouring steps (Catmull and Rom, 1974), so that
the motion passes the rows at their times and does not stop at them. Where that cubic would ask for more acceleration than is set aside for it, as
between rows that are noisy, it is the straight line at a constant speed: its corners cost what follows it less than the cubic's swings would.
Rotations likewise, in the rotation vector from the one row to the next: exact at the rows; between them the angular velocity is that of the rotation
vector, which differs by a share of about a twelfth of the squared step (5 % at 0.8 rad).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cdp.actions import eef_pose
from cdp.geometry import FloatArray
from cdp_franka.rotation import turn_between, turn_matrix, turns_along

NS_PER_S = 1_000_000_000


def to_ns(seconds: float) -> int:
    """Whole nanoseconds of a finite time in seconds."""
    return round(seconds * NS_PER_S)


@dataclass(frozen=True, eq=False)
class Pose:
    """Position (3,) [m] and rotation matrix (3, 3) in the base frame."""

    position_m: FloatArray
    rotation: FloatArray


@dataclass(frozen=True, eq=False)
class PoseMotion:
    """A pose and how it moves: (3,) each, in the base frame, linear [m/s, m/s^2] and angular [rad/s, rad/s^2]."""

    pose: Pose
    velocity: FloatArray
    acceleration: FloatArray
    angular_velocity: FloatArray
    angular_acceleration: FloatArray


def at_rest(pose: Pose) -> PoseMotion:
    """The pose, standing still."""
    zero = np.zeros(3)
    return PoseMotion(pose, zero, zero, zero, zero)


def _cubic(step: FloatArray, seconds: float, begin: FloatArray, end: FloatArray, most: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coefficients (3,) of the cubic from 0 to ``step`` with velocities ``begin`` and ``end``, or of the line where it bends more than ``most``."""
    for first, last in ((begin, end), (step / seconds, step / seconds)):
        square, cube = 3.0 * step - seconds * (2.0 * first + last), seconds * (first + last) - 2.0 * step
        # The acceleration is linear in time: greatest at an end.
        bends = (2.0 * square / (seconds * seconds)).tolist(), ((2.0 * square + 6.0 * cube) / (seconds * seconds)).tolist()
        if not max(math.hypot(*bends[0]), math.hypot(*bends[1])) > most:
            break
    return first * seconds, square, cube


class _Segment:
    """From one pose to the next."""

    def __init__(
        self, begin: PoseMotion, end: Pose, turn: FloatArray, seconds: float, velocities: tuple[FloatArray, FloatArray], bends: tuple[float, float]
    ) -> None:
        self._from, self._seconds = begin.pose, seconds
        # Position and rotation in two rows (2, 3): half the operations.
        place = _cubic(end.position_m - begin.pose.position_m, seconds, begin.velocity, velocities[0], bends[0])
        turning = _cubic(turn, seconds, begin.angular_velocity, velocities[1], bends[1])
        self._linear, self._square, self._cube = (np.array(rows) for rows in zip(place, turning, strict=True))

    def at(self, share: float) -> PoseMotion:
        """The motion at ``share`` in [0, 1] of the time."""
        s, t = share, self._seconds
        step, turn = s * (self._linear + s * (self._square + s * self._cube))
        square = 2.0 * self._square
        velocity, angular_velocity = (self._linear + s * (square + 3.0 * s * self._cube)) / t
        acceleration, angular_acceleration = (square + 6.0 * s * self._cube) / (t * t)
        pose = Pose(self._from.position_m + step, turn_matrix(turn) @ self._from.rotation)
        return PoseMotion(pose, velocity, acceleration, angular_velocity, angular_acceleration)


def _row_velocities(steps: FloatArray, seconds: float) -> FloatArray:
    """Velocities (T, 3) at the rows between which the ``steps`` (T - 1, 3) lie: the mean of both neighbours, at the ends of the one."""
    velocities = np.zeros((len(steps) + 1, 3))
    if len(steps) > 0:
        velocities[0], velocities[-1] = steps[0], steps[-1]
        velocities[1:-1] = 0.5 * (steps[1:] + steps[:-1])
    return velocities / seconds


class ChunkMotion:
    """Where a chunk wants the end effector at a time.

    From the ``anchor`` (the commanded motion when the chunk came) to row 0 while that lies ahead, then from row to row, then at the last row. The
    gripper gets the width of the row being headed for.
    """

    def __init__(
        self, rows: FloatArray, start_ns: int, dt_s: float, anchor: PoseMotion, anchor_ns: int, bends: tuple[float, float] = (math.inf, math.inf)
    ) -> None:
        """``rows`` (T >= 1, 10); ``bends``: greatest accelerations of a curve [m/s^2, rad/s^2].

        Raises ValueError where a 6-D rotation is degenerate.
        """
        self._bends = bends
        self._positions, self._rotations, self._widths_m = eef_pose(rows)
        self._steps = np.diff(self._positions, axis=0)
        self._turns = turns_along(self._rotations)
        self._velocities, self._angular = _row_velocities(self._steps, dt_s), _row_velocities(self._turns, dt_s)
        self._start_ns, self._dt_s, self._dt_ns = start_ns, dt_s, to_ns(dt_s)
        self._anchor_ns = anchor_ns
        self._approach = self._from_anchor(anchor, (start_ns - anchor_ns) / NS_PER_S)
        self._segment: tuple[int, _Segment] | None = None

    def _from_anchor(self, anchor: PoseMotion, seconds: float) -> _Segment | None:
        if seconds <= 0.0:
            return None
        first, turn = self._pose(0), turn_between(anchor.pose.rotation, self._rotations[0])
        if len(self._positions) == 1:
            # A single row says nothing of its velocity: the mean on the way there.
            return _Segment(anchor, first, turn, seconds, ((first.position_m - anchor.pose.position_m) / seconds, turn / seconds), self._bends)
        return _Segment(anchor, first, turn, seconds, (self._velocities[0], self._angular[0]), self._bends)

    @property
    def end_ns(self) -> int:
        """The time that the last row is for."""
        return self._start_ns + (len(self._positions) - 1) * self._dt_ns

    def row(self, at_ns: int) -> int:
        """Index of the row being headed for."""
        index = math.ceil((at_ns - self._start_ns) / self._dt_ns)
        return min(max(index, 0), len(self._positions) - 1)

    def heading(self, at_ns: int) -> tuple[Pose, float]:
        """Pose and gripper width [m] of the row being headed for."""
        row = self.row(at_ns)
        return self._pose(row), float(self._widths_m[row])

    def at(self, at_ns: int) -> PoseMotion:
        """The interpolated pose and its motion; at the time of the last row it still moves, since the next chunk begins there."""
        last = len(self._positions) - 1
        if at_ns > self.end_ns or (last == 0 and self._approach is None):
            return at_rest(self._pose(last))
        if at_ns < self._start_ns or last == 0:
            if self._approach is None:
                return at_rest(self._pose(0))
            share = (at_ns - self._anchor_ns) / (self._start_ns - self._anchor_ns)
            return self._approach.at(min(max(share, 0.0), 1.0))
        index, rest_ns = divmod(at_ns - self._start_ns, self._dt_ns)
        return self._between(last - 1).at(1.0) if index == last else self._between(index).at(rest_ns / self._dt_ns)

    def pose(self, at_ns: int) -> Pose:
        """The interpolated pose."""
        return self.at(at_ns).pose

    def largest_step(self) -> tuple[float, float]:
        """Largest distance [m] and turn [rad] between neighbouring rows."""
        if len(self._steps) == 0:
            return 0.0, 0.0
        return float(np.max(np.linalg.norm(self._steps, axis=1))), float(np.max(np.linalg.norm(self._turns, axis=1)))

    def _pose(self, row: int) -> Pose:
        return Pose(self._positions[row], self._rotations[row])

    def _between(self, index: int) -> _Segment:
        if self._segment is None or self._segment[0] != index:
            begin = PoseMotion(self._pose(index), self._velocities[index], np.zeros(3), self._angular[index], np.zeros(3))
            velocities = self._velocities[index + 1], self._angular[index + 1]
            self._segment = index, _Segment(begin, self._pose(index + 1), self._turns[index], self._dt_s, velocities, self._bends)
        return self._segment[1]
