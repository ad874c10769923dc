"""Joint commands that follow the guard's Cartesian target within the joint limits.

Per joint, |dq| stays under its share of the velocity limit and |d(dq)| under its share of the acceleration limit times the step, and the point
where the joint comes to rest when braking at half of the published deceleration stays within the position limits less a margin (the argument is
that of ``limiter``, in one dimension). Half of the published deceleration also keeps dq under the published bound that shrinks towards the stops.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray
from cdp_franka.chunk import Pose
from cdp_franka.guard_config import GuardConfig
from cdp_franka.kinematics import forward, joint_velocity, pose_error

_ERROR_GAIN_PER_S = 10.0


class JointTracker:
    """Commanded joint angles and velocities."""

    def __init__(self, config: GuardConfig, q_rad: ArrayLike) -> None:
        """Starts at rest at the joint angles (7,), which lie within the limits less the margin."""
        limits = config.limits
        self._config = config
        self._low, self._high = limits.q_min_rad + config.joint_margin_rad, limits.q_max_rad - config.joint_margin_rad
        self._speed = config.joint_speed_share * limits.dq_max_rad_s
        self._acceleration = config.joint_acceleration_share * limits.ddq_max_rad_s2
        self._braking = np.minimum(0.5 * limits.deceleration_rad_s2, self._acceleration)
        self.q_rad: FloatArray = np.array(q_rad, dtype=np.float64)
        self.dq_rad_s: FloatArray = np.zeros_like(self.q_rad)

    def pose(self) -> Pose:
        """End-effector pose of the commanded joint angles."""
        return Pose(*forward(self.q_rad))

    def follow(self, target: Pose, twist: FloatArray, dt_s: float) -> tuple[float, float]:
        """Step towards ``target``, which moves with ``twist`` (6,). Returns how far it stays behind: metres and radians."""
        error = self._error(target)
        wanted = joint_velocity(
            self.q_rad, twist + _ERROR_GAIN_PER_S * error, self._config.ik_damping, self._config.posture_rad, self._config.posture_gain_per_s
        )
        self._step(wanted, dt_s)
        error = self._error(target)
        return float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))

    def stop(self, dt_s: float) -> None:
        """Step towards rest."""
        self._step(np.zeros_like(self.q_rad), dt_s)

    def _error(self, target: Pose) -> FloatArray:
        here = self.pose()
        return pose_error(here.position_m, here.rotation, target.position_m, target.rotation)

    def _step(self, wanted: FloatArray, dt_s: float) -> None:
        # One factor for all joints keeps the direction of the end effector's motion.
        wanted = wanted * min(1.0, float(np.min(self._speed / np.maximum(np.abs(wanted), 1e-9))))
        change = wanted - self.dq_rad_s
        change = change * min(1.0, float(np.min(self._acceleration * dt_s / np.maximum(np.abs(change), 1e-12))))
        dq = self.dq_rad_s + change
        stop = self.q_rad + dq * dt_s + dq * np.abs(dq) / (2 * self._braking)
        slower = np.sign(self.dq_rad_s) * np.maximum(0.0, np.abs(self.dq_rad_s) - self._braking * dt_s)
        self.dq_rad_s = np.where((stop < self._low) | (stop > self._high), slower, dq)
        self.q_rad = self.q_rad + self.dq_rad_s * dt_s
