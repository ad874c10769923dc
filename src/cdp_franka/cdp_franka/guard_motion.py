"""The commanded end-effector pose: moves after a reference within the limits of speed, acceleration, jerk, box and leash.

The position is a ``limiter.JerkLimited`` vector. So is the rotation, in the angular velocity: each tick the motion's origin is put to the rotation
vector from the present rotation, whose first and second derivatives there *are* the angular velocity and acceleration. The rotation sent turns by
the integral of the angular velocity over the tick. So the bounds on angular velocity, acceleration and jerk hold exactly for the turns from one
command to the next, as divided differences. Approximate are: the way to the target, straight in the rotation vector, which a re-based origin bends
at each tick; and the rotation as the integral of the angular velocity, short of a twelfth of dt^3 |w x dw/dt| (3e-7 rad a tick at the default
limits and 100 Hz).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cdp.geometry import FloatArray
from cdp_franka.chunk import Pose, PoseMotion
from cdp_franka.guard_config import GuardConfig
from cdp_franka.limiter import JerkLimited
from cdp_franka.limiter_bounds import Bounds, Reference, clip_length
from cdp_franka.rotation import orthonormal, small_turn, turn_between, turn_matrix

_LIMITED_M = 2e-3
_LIMITED_RAD = 2e-2
_ORIGIN = [0.0, 0.0, 0.0]


class CartesianMotion:
    """Commanded pose and its motion in the base frame."""

    def __init__(self, config: GuardConfig, pose: Pose) -> None:
        """Starts at rest at ``pose``. Where that lies outside of the box it may stay or come in; what its way in has passed stays behind it."""
        self._config = config
        self._low, self._high = config.box.low_m.tolist(), config.box.high_m.tolist()
        self._linear = Bounds(config.linear_speed_m_s, config.linear_acceleration_m_s2, config.linear_jerk_m_s3)
        self._angular = Bounds(config.angular_speed_rad_s, config.angular_acceleration_rad_s2, config.angular_jerk_rad_s3)
        self._slow = (
            replace(self._linear, speed=min(config.retreat_speed_m_s, self._linear.speed)),
            replace(self._angular, speed=min(config.retreat_speed_rad_s, self._angular.speed)),
        )
        here = pose.position_m.tolist()
        self._place = JerkLimited(here, [*map(min, self._low, here)], [*map(max, self._high, here)])
        self._came_in = self._inside(here) == here
        self._turn = JerkLimited(_ORIGIN, [-math.inf] * 3, [math.inf] * 3)
        self._rotation = pose.rotation
        self._pose: Pose | None = None

    @property
    def pose(self) -> Pose:
        """The commanded pose."""
        if self._pose is None:
            # The clip removes rounding (a picometre) only.
            self._pose = Pose(np.array(self._within_reach(self._place.position)), self._rotation)
        return self._pose

    @property
    def motion(self) -> PoseMotion:
        """The commanded pose, its velocities and accelerations."""
        place, turn = self._place, self._turn
        return PoseMotion(self.pose, np.array(place.velocity), np.array(place.acceleration), np.array(turn.velocity), np.array(turn.acceleration))

    @property
    def twist(self) -> FloatArray:
        """Linear, then angular velocity (6,)."""
        return np.array([*self._place.velocity, *self._turn.velocity])

    @property
    def pose_at_rest(self) -> Pose:
        """Where the stop would end."""
        turn = turn_matrix(np.array(self._turn.rest()))
        return Pose(np.array(self._within_reach(self._place.rest())), turn @ self._rotation)

    @property
    def moving(self) -> bool:
        """Whether it is not at rest."""
        return any(self._place.velocity) or any(self._turn.velocity)

    def follow(self, wanted: PoseMotion, measured: Pose, dt_s: float, slowly: bool = False) -> bool:
        """Step of ``dt_s`` > 0 towards ``wanted``, which is for the end of the step. Returns whether a limit held it back.

        ``slowly``: no faster than a retreat.
        """
        linear, angular_bounds = self._slow if slowly else (self._linear, self._angular)
        position, velocity, acceleration = self._allowed_place(wanted, measured)
        self._place.follow_vector(Reference(position, velocity, acceleration), linear, dt_s)
        rotation, turning = self._allowed_rotation(wanted, measured)
        error = turn_between(self._rotation, rotation).tolist()
        angular = wanted.angular_velocity.tolist() if turning else _ORIGIN
        bend = wanted.angular_acceleration.tolist() if turning else _ORIGIN
        self._turn.follow_vector(Reference(error, angular, bend), angular_bounds, dt_s)
        self._rebase()
        behind_m = math.dist(wanted.pose.position_m.tolist(), self._place.position)
        return behind_m > _LIMITED_M or small_turn(self._rotation, wanted.pose.rotation) > _LIMITED_RAD

    def stop(self, dt_s: float) -> None:
        """Step of ``dt_s`` towards rest."""
        self._place.stop(dt_s)
        self._turn.stop(dt_s)
        self._rebase()

    def _inside(self, position: list[float]) -> list[float]:
        return [min(max(p, low), high) for p, low, high in zip(position, self._low, self._high, strict=True)]

    def _within_reach(self, position: list[float]) -> list[float]:
        """In the box, or on the way into it."""
        return [min(max(p, low), high) for p, low, high in zip(position, self._place.low, self._place.high, strict=True)]

    def _rebase(self) -> None:
        self._pose = None
        if not self._came_in:
            self._came_in = self._place.narrow(self._low, self._high)
        if any(self._turn.position):
            # Back onto the rotations: products of many matrices drift off them.
            self._rotation = orthonormal(turn_matrix(np.array(self._turn.position)) @ self._rotation)
            self._turn.shift(_ORIGIN)

    def _allowed_place(self, wanted: PoseMotion, measured: Pose) -> tuple[list[float], list[float], list[float]]:
        """The reference within leash and box: held where it is cut short."""
        here = measured.position_m.tolist()
        position = wanted.pose.position_m.tolist()
        velocity, acceleration = wanted.velocity.tolist(), wanted.acceleration.tolist()
        if math.dist(position, here) > self._config.leash_m:
            ahead = clip_length([p - h for p, h in zip(position, here, strict=True)], self._config.leash_m)
            position = [h + a for h, a in zip(here, ahead, strict=True)]
            velocity, acceleration = _ORIGIN, _ORIGIN
        inside = self._inside(position)
        free = [p == i for p, i in zip(position, inside, strict=True)]
        return (
            inside,
            [v if f else 0.0 for v, f in zip(velocity, free, strict=True)],
            [a if f else 0.0 for a, f in zip(acceleration, free, strict=True)],
        )

    def _allowed_rotation(self, wanted: PoseMotion, measured: Pose) -> tuple[FloatArray, bool]:
        turn = turn_between(measured.rotation, wanted.pose.rotation).tolist()
        if math.hypot(*turn) <= self._config.leash_rad:
            return wanted.pose.rotation, True
        return turn_matrix(np.array(clip_length(turn, self._config.leash_rad))) @ measured.rotation, False
