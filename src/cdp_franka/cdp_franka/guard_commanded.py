"""What is commanded since the last engage: the pose, with the joint interface the joints after it, and the gripper."""

from __future__ import annotations

import math

from cdp_franka.guard_collision import CollisionWatch
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_motion import CartesianMotion
from cdp_franka.guard_retreat import Retreat
from cdp_franka.guard_robot import RobotState
from cdp_franka.guard_sources import SourceTrack
from cdp_franka.guard_types import Finding, GuardOutput, Reason, State
from cdp_franka.joint_tracker import JointTracker
from cdp_franka.rotation import quat_of


class Commanded:
    """Begins at rest where the robot is measured to be."""

    def __init__(self, config: GuardConfig, robot: RobotState) -> None:
        assert robot.pose is not None and robot.q_rad is not None
        self._config = config
        self._joints = JointTracker(config, robot.q_rad) if config.command_interface == "joint" else None
        self.motion = CartesianMotion(config, robot.pose if self._joints is None else self._joints.pose())
        self._gripper_width_m = robot.gripper_width_m

    @property
    def moving(self) -> bool:
        """Whether what is commanded has not come to rest yet."""
        return self.motion.moving or (self._joints is not None and bool(self._joints.dq_rad_s.any()))

    def move(self, track: SourceTrack | None, retreat: Retreat | None, robot: RobotState, now_ns: int, dt_s: float) -> bool:
        """Moves the pose by one step, ``dt_s`` > 0: along a retreat, else after a source, else towards rest. Whether a limit held it back."""
        measured = robot.pose
        if retreat is not None and measured is not None:
            return self.motion.follow(retreat.advance(self.motion.pose, dt_s), measured, dt_s, slowly=True)
        if track is None or track.motion is None or measured is None:
            self.motion.stop(dt_s)
            return False
        limited = self.motion.follow(track.motion.at(now_ns), measured, dt_s)
        self._gripper_width_m = min(max(track.motion.heading(now_ns)[1], 0.0), self._config.gripper_max_width_m)
        return limited

    def move_joints(self, dt_s: float, faulted: bool) -> Finding | None:
        """The joints by one step after the pose, or in a fault towards rest. Returns the fault where they can not follow."""
        if self._joints is None:
            return None
        if faulted:
            self._joints.stop(dt_s)
            return None
        behind_m, behind_rad = self._joints.follow(self.motion.pose, self.motion.twist, dt_s)
        if behind_m > self._config.ik_tolerance_m or behind_rad > self._config.ik_tolerance_rad or math.isnan(behind_m + behind_rad):
            return Finding(Reason.IK_FAILED, f"joint commands stay {behind_m:.3f} m and {behind_rad:.3f} rad behind the target")
        return None

    def look_ahead(self, watch: CollisionWatch, robot: RobotState, now_ns: int) -> Finding | None:
        """The fault where the stop of what is commanded would end too close to a link or to the table."""
        if robot.q_rad is None or not watch.due(now_ns):
            return None
        opening_m = max(self._gripper_width_m or 0.0, robot.gripper_width_m or 0.0)
        if self._joints is not None:
            return watch.of_joints(self._joints.q_at_rest_rad, robot.q_rad, opening_m, now_ns)
        return watch.of_pose(self.motion.pose_at_rest, robot.q_rad, opening_m, now_ns)

    def output(self, state: State, why: Finding, limited: bool) -> GuardOutput:
        """What to send."""
        pose, joints = self.motion.pose, self._joints
        return GuardOutput(
            state=state,
            reason=why.reason,
            message=why.text,
            send=True,
            limited=limited,
            position_m=pose.position_m.copy(),
            quat_xyzw=quat_of(pose.rotation),
            gripper_width_m=self._gripper_width_m,
            q_rad=None if joints is None else joints.q_rad,
            dq_rad_s=None if joints is None else joints.dq_rad_s,
            ddq_rad_s2=None if joints is None else joints.ddq_rad_s2,
        )
