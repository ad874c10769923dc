"""The commanded end-effector pose: moves towards a reference within the limits of speed, acceleration, box and leash."""

from __future__ import annotations

import numpy as np

from cdp.geometry import FloatArray
from cdp_franka.chunk import Pose
from cdp_franka.guard_config import GuardConfig
from cdp_franka.limiter import Bounds, brake, clip_norm, keep_in_box, next_velocity
from cdp_franka.rotation import orthonormal, turn_between, turn_matrix

_LIMITED_M = 2e-3
_LIMITED_RAD = 2e-2


class CartesianMotion:
    """Commanded pose and its velocities, (3,) linear [m/s] and (3,) angular [rad/s], in the base frame."""

    def __init__(self, config: GuardConfig, pose: Pose) -> None:
        """Starts at rest at ``pose``, whose position lies in the box."""
        self._config = config
        self._low, self._high = config.box.low_m, config.box.high_m
        self._linear = Bounds(config.linear_speed_m_s, config.linear_acceleration_m_s2)
        self._angular = Bounds(config.angular_speed_rad_s, config.angular_acceleration_rad_s2)
        self.pose = pose
        self.velocity_m_s: FloatArray = np.zeros(3)
        self.velocity_rad_s: FloatArray = np.zeros(3)

    @property
    def twist(self) -> FloatArray:
        """Linear, then angular velocity (6,)."""
        return np.concatenate([self.velocity_m_s, self.velocity_rad_s])

    def follow(self, wanted: Pose, wanted_before: Pose, measured: Pose, dt_s: float) -> bool:
        """Step of ``dt_s`` > 0 towards ``wanted``, which was ``wanted_before`` one step ago. Returns whether a limit held it back."""
        now, before = self._allowed(wanted, measured), self._allowed(wanted_before, measured)
        linear = next_velocity(
            before.position_m - self.pose.position_m, (now.position_m - before.position_m) / dt_s, self.velocity_m_s, self._linear, dt_s
        )
        angular = next_velocity(
            turn_between(self.pose.rotation, before.rotation),
            turn_between(before.rotation, now.rotation) / dt_s,
            self.velocity_rad_s,
            self._angular,
            dt_s,
        )
        self._move(linear, angular, dt_s)
        behind_m = float(np.linalg.norm(wanted.position_m - self.pose.position_m))
        behind_rad = float(np.linalg.norm(turn_between(self.pose.rotation, wanted.rotation)))
        return behind_m > _LIMITED_M or behind_rad > _LIMITED_RAD

    def stop(self, dt_s: float) -> None:
        """Step of ``dt_s`` towards rest."""
        self._move(brake(self.velocity_m_s, self._linear, dt_s), brake(self.velocity_rad_s, self._angular, dt_s), dt_s)

    def _allowed(self, wanted: Pose, measured: Pose) -> Pose:
        ahead = clip_norm(wanted.position_m - measured.position_m, self._config.leash_m)
        turn = turn_between(measured.rotation, wanted.rotation)
        if np.linalg.norm(turn) > self._config.leash_rad:
            rotation = turn_matrix(clip_norm(turn, self._config.leash_rad)) @ measured.rotation
        else:
            rotation = wanted.rotation
        return Pose(np.clip(measured.position_m + ahead, self._low, self._high), rotation)

    def _move(self, linear: FloatArray, angular: FloatArray, dt_s: float) -> None:
        position = self.pose.position_m
        self.velocity_m_s = keep_in_box(position, self.velocity_m_s, linear, self._low, self._high, self._linear, dt_s)
        self.velocity_rad_s = angular
        rotation = turn_matrix(angular * dt_s) @ self.pose.rotation
        # Back onto the rotations: products of many matrices drift off them. The clip only removes rounding in the last digit.
        self.pose = Pose(np.clip(position + self.velocity_m_s * dt_s, self._low, self._high), orthonormal(rotation))
