"""The robot's measured state as the guard knows it, and what may be wrong with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray
from cdp_franka.chunk import Pose, to_ns
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import Finding, Reason
from cdp_franka.kinematics import forward
from cdp_franka.rotation import matrix_of, turn_between


@dataclass
class RobotState:
    """Newest measured state; each part has its own header stamp, None before the first."""

    joints_ns: int | None = None
    q_rad: FloatArray | None = None
    dq_rad_s: FloatArray | None = None
    pose_ns: int | None = None
    pose: Pose | None = None
    gripper_ns: int | None = None
    gripper_width_m: float | None = None

    def take_joints(self, stamp_ns: int, q_rad: ArrayLike, dq_rad_s: ArrayLike) -> Finding | None:
        """Joint angles (7,) and velocities (7,), unless they are older than those known. Returns what is wrong with them."""
        q, dq = np.array(q_rad, dtype=np.float64), np.array(dq_rad_s, dtype=np.float64)
        finding = _not_finite("joint states", [*q.tolist(), *dq.tolist()])
        if finding is None and stamp_ns >= (self.joints_ns or 0):
            self.joints_ns, self.q_rad, self.dq_rad_s = stamp_ns, q, dq
        return finding

    def take_pose(self, stamp_ns: int, position_m: ArrayLike, quat_xyzw: ArrayLike) -> Finding | None:
        """Position (3,) and quaternion (4,) in the base frame, unless they are older than those known. Returns what is wrong with them."""
        position, quat = np.array(position_m, dtype=np.float64), np.array(quat_xyzw, dtype=np.float64)
        numbers = quat.tolist()
        finding = _not_finite("the measured pose", [*position.tolist(), *numbers])
        if finding is not None or stamp_ns < (self.pose_ns or 0):
            return finding
        length = math.hypot(*numbers)
        if abs(length - 1.0) > 0.01:
            return Finding(Reason.MALFORMED, f"the measured pose has a quaternion of length {length:.3f}")
        self.pose_ns, self.pose = stamp_ns, Pose(position, matrix_of(quat))
        return None

    def take_gripper(self, stamp_ns: int, width_m: float) -> Finding | None:
        """Opening [m]. Returns what is wrong with it."""
        finding = _not_finite("the gripper's width", [width_m])
        if finding is None:
            self.gripper_ns, self.gripper_width_m = stamp_ns, float(width_m)
        return finding


def _not_finite(what: str, values: list[float]) -> Finding | None:
    return None if all(map(math.isfinite, values)) else Finding(Reason.NOT_FINITE, f"{what}: a number is not finite")


def state_problem(robot: RobotState, config: GuardConfig, now_ns: int) -> Finding | None:
    """Whether the measured state is missing, old, in the future, beyond a joint limit or too fast."""
    for what, stamp_ns in (("joint states", robot.joints_ns), ("the measured pose", robot.pose_ns)):
        if stamp_ns is None:
            return Finding(Reason.STATE_STALE, f"{what}: none received")
        if now_ns - stamp_ns > to_ns(config.state_timeout_s):
            return Finding(Reason.STATE_STALE, f"{what}: {(now_ns - stamp_ns) / 1e9:.3f} s old; at most {config.state_timeout_s} s")
        if stamp_ns - now_ns > to_ns(config.future_tolerance_s):
            return Finding(Reason.STATE_STALE, f"{what}: stamped {(stamp_ns - now_ns) / 1e9:.3f} s in the future; are the clocks the same?")
    assert robot.q_rad is not None and robot.dq_rad_s is not None
    violation = config.limits.position_violation(robot.q_rad, config.joint_margin_rad)
    if violation is not None:
        return Finding(Reason.JOINT_LIMIT, violation)
    return _speed_problem(robot.dq_rad_s, config)


def _speed_problem(dq_rad_s: FloatArray, config: GuardConfig) -> Finding | None:
    limits = config.limits
    if all([-most <= speed <= most for speed, most in zip(dq_rad_s.tolist(), limits.dq_max_rad_s.tolist(), strict=True)]):
        return None
    share = np.abs(dq_rad_s) / limits.dq_max_rad_s
    worst = int(np.argmax(share))
    if share[worst] <= 1.0:
        return None
    return Finding(
        Reason.JOINT_VELOCITY, f"{limits.joint_names[worst]} moves at {dq_rad_s[worst]:.3f} rad/s; at most {limits.dq_max_rad_s[worst]} rad/s"
    )


def engage_problem(robot: RobotState, config: GuardConfig) -> Finding | None:
    """Whether a state without a :func:`state_problem` is one to begin from: in or near the box, pose and joints agreeing, the gripper known."""
    assert robot.pose is not None and robot.q_rad is not None
    box = config.box
    violation = box.violation(robot.pose.position_m, config.workspace_tolerance_m)
    if violation is not None:
        return Finding(Reason.WORKSPACE, f"the end effector is outside the workspace: {violation}")
    position, rotation = forward(robot.q_rad)
    gap_m = float(np.linalg.norm(position - robot.pose.position_m))
    gap_rad = float(np.linalg.norm(turn_between(rotation, robot.pose.rotation)))
    if gap_m > config.kinematic_tolerance_m or gap_rad > config.kinematic_tolerance_rad:
        return Finding(
            Reason.MALFORMED,
            f"the measured pose is {gap_m:.3f} m and {gap_rad:.3f} rad from the forward kinematics of the joint angles; is the robot's "
            f"end-effector frame set to the hand's TCP, and the pose given in {config.base_frame}?",
        )
    violation = box.violation(position, config.workspace_tolerance_m)
    if violation is not None and config.command_interface == "joint":
        return Finding(Reason.WORKSPACE, f"the end effector is outside the workspace: {violation}")
    if config.has_gripper and robot.gripper_width_m is None:
        return Finding(Reason.STATE_STALE, "the gripper's width: none received")
    return None
