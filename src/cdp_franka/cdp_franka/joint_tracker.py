"""Joint commands that follow the guard's Cartesian target within the joint limits.

Inverse kinematics makes joint velocities of the target's twist and integrates them; a ``limiter.JerkLimited`` motion, each joint for itself,
follows that. So per joint the velocity, acceleration and jerk stay under their shares of the published limits, and the quickest stop from every
state lies within the position limits less a margin.

The published velocity bound that shrinks towards the stops, |dq| <= bound(q), is a further condition on a safe state: it holds all along the stop.
Looked at are points no further apart than ``_CHECK_S``; for what lies between two of them the fastest that it may be is held against the least room
that it may have. (Near a stop the bound falls with the square root of the room: points alone, with a reserve, once let 7 % too much through.)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray
from cdp_franka.chunk import Pose
from cdp_franka.guard_config import GuardConfig
from cdp_franka.kinematics import forward, forward_and_jacobian, joint_velocity_of, pose_error
from cdp_franka.limiter import JerkLimited
from cdp_franka.limiter_bounds import AxisBounds, Reference
from cdp_franka.stopping import AxisState, Phases, along

_ERROR_GAIN_PER_S = 10.0
_CHECK_S = 0.005
# For rounding: of positions, and of the sums that make a velocity.
_RESERVE = 0.999
# The integrated joint angles wait for joints that are held back by more than this.
_AHEAD_RAD = 0.05
_ROUNDING_RAD = 1e-9


class JointTracker:
    """Commanded joint angles and their motion."""

    def __init__(self, config: GuardConfig, q_rad: ArrayLike) -> None:
        """Starts at rest at the joint angles (7,), which lie within the limits less the margin."""
        limits = config.limits
        self._config, self._limits = config, limits
        low_rad, high_rad = limits.q_min_rad + config.joint_margin_rad, limits.q_max_rad - config.joint_margin_rad
        self._range = list(zip(low_rad.tolist(), high_rad.tolist(), strict=True))
        speed = config.joint_speed_share * limits.dq_max_rad_s
        acceleration = config.joint_acceleration_share * limits.ddq_max_rad_s2
        jerk = config.joint_jerk_share * limits.dddq_max_rad_s3
        self._axes = AxisBounds(speed.tolist(), acceleration.tolist(), jerk.tolist())
        self._bounds = [
            (float(low), float(high), float(2.0 * deceleration), float(offset))
            for low, high, deceleration, offset in zip(
                limits.stop_min_rad, limits.stop_max_rad, limits.deceleration_rad_s2, limits.offset_rad_s, strict=True
            )
        ]
        self._free = [_free_range(*bounds, self._axes, joint) for joint, bounds in enumerate(self._bounds)]
        self._wanted: FloatArray = np.array(q_rad, dtype=np.float64)
        self._wanted_dq: FloatArray = np.zeros_like(self._wanted)
        self._motion = JerkLimited(self._wanted.tolist(), low_rad.tolist(), high_rad.tolist())

    @property
    def q_rad(self) -> FloatArray:
        """Commanded joint angles (7,)."""
        return np.array([min(max(q, low), high) for q, (low, high) in zip(self._motion.position, self._range, strict=True)])

    @property
    def dq_rad_s(self) -> FloatArray:
        """Commanded joint velocities (7,)."""
        return np.array(self._motion.velocity)

    @property
    def ddq_rad_s2(self) -> FloatArray:
        """Commanded joint accelerations (7,)."""
        return np.array(self._motion.acceleration)

    @property
    def q_at_rest_rad(self) -> FloatArray:
        """Joint angles (7,) at which the stop would end."""
        return np.array(self._motion.rest())

    def pose(self) -> Pose:
        """End-effector pose of the commanded joint angles."""
        return Pose(*forward(self._motion.position))

    def follow(self, target: Pose, twist: FloatArray, dt_s: float) -> tuple[float, float]:
        """Step of ``dt_s`` > 0 towards ``target``, which moves with ``twist`` (6,). Returns how far it stays behind: metres and radians."""
        config = self._config
        position, rotation, jac = forward_and_jacobian(self._wanted)
        # What is left when the twist has done its part of the step.
        error = pose_error(position, rotation, target.position_m, target.rotation) - dt_s * twist
        wanted = twist + _ERROR_GAIN_PER_S * error
        dq = joint_velocity_of(jac, self._wanted, wanted, config.ik_damping, config.posture_rad, config.posture_gain_per_s)
        # One factor for all joints keeps the direction of the end effector's motion.
        dq = dq * min([1.0, *(speed / max(abs(x), 1e-9) for speed, x in zip(self._axes.speed, dq.tolist(), strict=True))])
        ddq = ((dq - self._wanted_dq) / dt_s).tolist()
        reference = Reference((self._wanted + dt_s * dq).tolist(), dq.tolist(), ddq)
        self._wanted_dq = dq
        for i, (held, (low, high)) in enumerate(zip(self._motion.position, self._range, strict=True)):
            near = min(max(reference.position[i], held - _AHEAD_RAD), held + _AHEAD_RAD)
            reference.position[i] = min(max(near, low), high)
            if not low < near < high:
                reference.velocity[i] = reference.acceleration[i] = 0.0
        self._wanted = np.array(reference.position)
        self._motion.follow_axes(reference, self._axes, dt_s, self._slow_enough, self._free)
        behind = pose_error(*forward(self._motion.position), target.position_m, target.rotation).tolist()
        return math.hypot(*behind[:3]), math.hypot(*behind[3:])

    def stop(self, dt_s: float) -> None:
        """Step of ``dt_s`` along the stop."""
        self._motion.stop(dt_s)
        self._wanted, self._wanted_dq = np.array(self._motion.position), np.array(self._motion.velocity)

    def _slow_enough(self, joint: int, state: AxisState, phases: Phases) -> bool:
        """Whether the velocity stays under the published bound at every instant of the stop."""
        low, high, gain, offset = self._bounds[joint]
        if self._free[joint][0] <= state[0] <= self._free[joint][1]:
            return True
        seconds = sum(duration for duration, _ in phases)
        count = max(1, math.ceil(seconds / _CHECK_S))
        step = seconds / count
        # |d2v/dt2| <= J: between two points the velocity leaves their chord by at most J h^2 / 8.
        bulge = self._axes.jerk[joint] * step * step / 8.0
        q, dq, _ = state
        for k in range(1, count + 1):
            next_q, next_dq, _ = along(state, phases, step * k)
            fastest = max(abs(dq), abs(next_dq)) + bulge
            # How far beyond both points the position may be: where the velocity changes its sign, or hardly at all.
            beyond = step * (fastest if dq * next_dq < 0.0 else bulge)
            most = math.inf
            if max(dq, next_dq) > 0.0:
                most = _shrunk(high - max(q, next_q) - beyond, gain, offset)
            if min(dq, next_dq) < 0.0:
                most = min(most, _shrunk(min(q, next_q) - beyond - low, gain, offset))
            if fastest > _RESERVE * most:
                return False
            q, dq = next_q, next_dq
        return True


def _shrunk(room: float, gain: float, offset: float) -> float:
    """The bound on the speed towards a stop that is ``room`` away."""
    return max(0.0, math.sqrt(max(0.0, gain * room)) - offset)


def _free_range(low: float, high: float, gain: float, offset: float, axes: AxisBounds, joint: int) -> tuple[float, float]:
    """Where the bound near the stops is above the joint's own everywhere that the quickest stop goes: nothing to check. Empty where it never is."""
    speed, acceleration, jerk = axes.speed[joint], axes.acceleration[joint], axes.jerk[joint]
    # As far, and as fast, as the check itself would allow for.
    travel = speed * (speed / acceleration + acceleration / jerk + _CHECK_S)
    fastest = speed + jerk * _CHECK_S * _CHECK_S / 8.0
    room = travel + (fastest / _RESERVE + offset) ** 2 / gain + _ROUNDING_RAD
    return low + room, high - room
