"""The driver's ROS side: the topics of franka_ros2, the guard's targets, status, and the recovery.

The topic for targets is open only while the arm is under control: the guard, which looks for its reader each second, does not engage before that,
and disengages when control ends.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from cdp_ros.main import run_node
from cdp_ros.parameters import declare, read
from cdp_ros.stamps import ns_to_stamp, stamp_to_ns
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from cdp.config import ConfigError, setting
from cdp_franka.kinematics import forward
from cdp_franka.limits import FR3
from cdp_franka.rotation import quat_of
from cdp_franka_driver import messages
from cdp_franka_driver.arm import ArmState
from cdp_franka_driver.arm_process import Begin
from cdp_franka_driver.config import ControlConfig
from cdp_franka_driver.libfranka_arm import has_realtime_kernel
from cdp_franka_driver.link import LIBFRANKA, ArmLink
from cdp_franka_driver.recovery_service import RecoveryService
from cdp_franka_driver.supervisor import Phase, Report
from cdp_franka_driver.targets import RefusedError, TargetConfig, Targets

NAME = "franka_driver"
_LOOK_S = 0.02
# Longer than the guard's second between two looks at its reader.
_SHUT_S = 1.5
# The end effector that Desk has set against the one that all topics mean.
_TOOL_TOLERANCE_M = 0.002


@dataclass(frozen=True)
class DriverConfig:
    """Settings of the node."""

    robot_ip: str = setting("", help="the robot's address, or that of any server of libfranka's protocol")
    state_rate_hz: float = setting(100.0, low=30.0, high=500.0, help="rate of joint states and measured pose [Hz]")
    base_frame: str = setting("fr3_link0", help="frame of poses")


class DriverNode(Node):
    """Thin: messages in, :class:`Targets`, :class:`ArmLink` out."""

    def __init__(self, factory: str = LIBFRANKA) -> None:
        """``factory``: what connects, MODULE:NAME. Raises ConfigError for a refused parameter."""
        super().__init__(NAME)
        for config in (DriverConfig, ControlConfig, TargetConfig):
            declare(self, config)
        self._settings, control = read(self, DriverConfig), read(self, ControlConfig)
        if not self._settings.robot_ip:
            raise ConfigError("robot_ip: the robot's address is missing; add -p robot_ip:=172.16.0.2")
        self._joint = control.command_interface == "joint"
        self._targets = Targets(read(self, TargetConfig), control.target_delay_s)
        self._report = Report(Phase.CONNECTING, None, None)
        self._newest: ArmState | None = None
        self._listening: Any = None
        self._said: tuple[Phase, str] | None = None
        self._refused = self._states = 0
        self._shut_until_s = 0.0
        self._tool_said = self._scheduling_said = False
        self._publish_to()
        if not has_realtime_kernel():
            self.get_logger().warning("no real-time kernel (PREEMPT_RT): a busy machine will lose commands, and the robot stops after 20 in a row")
        self.create_timer(_LOOK_S, self._look)
        self.create_timer(1.0, self._diagnose)
        self._link = ArmLink(Begin(self._settings.robot_ip, control, self._settings.state_rate_hz), self._on_report, factory)
        self._recovery = RecoveryService(self, self._link.recover)

    def _publish_to(self) -> None:
        reliable, best_effort = QoSProfile(depth=10), QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._joints_pub = self.create_publisher(JointState, "/joint_states", reliable)
        self._pose_pub = self.create_publisher(PoseStamped, "/franka_robot_state_broadcaster/current_pose", best_effort)
        self._desired_pub = self.create_publisher(JointState, f"/{NAME}/desired_joint_states", best_effort)
        self._desired_pose_pub = self.create_publisher(PoseStamped, f"/{NAME}/desired_pose", best_effort)
        self._status_pub = self.create_publisher(DiagnosticStatus, f"/{NAME}/status", latched)
        self._diagnostics_pub = self.create_publisher(DiagnosticArray, "/diagnostics", reliable)

    def close(self) -> None:
        """End the motion."""
        self._link.close()
        self._recovery.close()

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    # From the robot, in the link's thread

    def _on_report(self, report: Report) -> None:
        state = report.state
        if state is not None:
            self._newest = state
            self._states += 1
            frame, names = self._settings.base_frame, FR3.joint_names
            self._joints_pub.publish(messages.joint_states(state, names, frame))
            position_m, rotation = forward(state.q_rad)
            self._pose_pub.publish(messages.pose(position_m, _wxyz(rotation), state.stamp_ns, frame))
            if state.q_desired_rad is not None:
                desired = JointState(name=list(names), position=state.q_desired_rad.tolist())
                desired.header.stamp = ns_to_stamp(state.stamp_ns)
                self._desired_pub.publish(desired)
            if state.pose_desired is not None:
                self._desired_pose_pub.publish(messages.pose(state.pose_desired[:3], state.pose_desired[3:], state.stamp_ns, frame))
        self._report = report

    # From the guard

    def _look(self) -> None:
        """Open or shut the topic for targets, and say what has changed."""
        report = self._report
        ready = report.phase is Phase.CONTROLLING
        shut = time.monotonic() < self._shut_until_s
        if ready and not shut and self._listening is None and self._newest is not None:
            self._targets.restart()
            kind, topic, act = (
                (JointTrajectory, "joint_trajectory", self._on_joints) if self._joint else (PoseStamped, "equilibrium_pose", self._on_pose)
            )
            self._listening = self.create_subscription(kind, f"/{NAME}/{topic}", act, QoSProfile(depth=1))
        elif (shut or not ready) and self._listening is not None:
            self.destroy_subscription(self._listening)
            self._listening = None
        said = report.phase, "" if report.problem is None else str(report.problem)
        if said == self._said:
            return
        self._said = said
        # Each severity on a line of its own: rclpy refuses another from the same line.
        if report.problem is not None:
            self.get_logger().error(said[1])
        else:
            self.get_logger().info("the arm is under control, held where it is" if ready else f"{report.phase.value} ({self._settings.robot_ip})")
        self._status_pub.publish(self._status())

    def _begin(self) -> None:
        """A first target lies where the arm is measured when it comes: a guard begins there; one that goes on from before control does not."""
        if self._newest is not None and not self._targets.started:
            position_m, rotation = forward(self._newest.q_rad)
            self._targets.begin(self._newest.q_rad, position_m, _wxyz(rotation))

    def _on_joints(self, msg: JointTrajectory) -> None:
        self._begin()
        try:
            values = messages.trajectory_point(msg, FR3.joint_names)
            self._link.follow(self._targets.joints(*values, stamp_to_ns(msg.header.stamp), self._now_ns()))
        except RefusedError as refusal:
            self._on_refused(refusal)

    def _on_pose(self, msg: PoseStamped) -> None:
        self._begin()
        try:
            values = messages.pose_target(msg, self._settings.base_frame)
            self._link.follow(self._targets.pose(*values, stamp_to_ns(msg.header.stamp), self._now_ns()))
        except RefusedError as refusal:
            self._on_refused(refusal)

    def _on_refused(self, refusal: RefusedError) -> None:
        """In the middle of a motion, shut the topic for a while: a guard that went on while the arm is held would be ever further away.

        Before the first target that lies at the arm there is nothing to shut: the guard sends one as soon as it is engaged.
        """
        self._refused += 1
        if self._targets.started:
            self._shut_until_s = time.monotonic() + _SHUT_S
        self.get_logger().error(f"a target is refused, the arm is held; engage the guard anew: {refusal}", throttle_duration_sec=1.0)

    # Health

    def _status(self) -> DiagnosticStatus:
        counts = {"states": str(self._states), "refused_targets": str(self._refused), "process_id": str(self._link.process_id)}
        return messages.status(NAME, self._settings.robot_ip, self._report, self._newest, counts)

    def _diagnose(self) -> None:
        status = self._status()
        self._status_pub.publish(status)
        self._diagnostics_pub.publish(messages.array(status, self._now_ns()))
        if self._newest is not None:
            self._warn(self._newest)

    def _warn(self, state: ArmState) -> None:
        """Once each: what works all the same, and not as well as it should."""
        off_m = float(np.linalg.norm(forward(state.q_rad)[0] - state.o_t_ee[:3, 3]))
        if off_m > _TOOL_TOLERANCE_M and not self._tool_said:
            self._tool_said = True
            self.get_logger().warning(
                f"the robot's end effector is {off_m:.3f} m from fr3_hand_tcp, which all poses mean: choose the Franka hand in Desk, "
                "or the robot compensates the weight of another tool"
            )
        if state.scheduling and not self._scheduling_said:
            self._scheduling_said = True
            self.get_logger().warning(
                f"the 1 kHz loop runs without real-time scheduling ({state.scheduling}): allow it by `<user> - rtprio 99` in "
                "/etc/security/limits.d, or expect communication_constraints_violation under load"
            )


def _wxyz(rotation: np.ndarray) -> np.ndarray:
    x, y, z, w = quat_of(rotation)
    return np.array([w, x, y, z])


def main(args: list[str] | None = None) -> int:
    """Run the driver until SIGINT or SIGTERM; 0 then, 2 where a parameter is refused."""
    return run_node("franka_driver", DriverNode, refusals=(ConfigError,), args=args, close=DriverNode.close)


if __name__ == "__main__":
    sys.exit(main())
