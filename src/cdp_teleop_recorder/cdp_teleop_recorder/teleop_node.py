"""Teleoperation as a node: a SpaceMouse's topics in, actions for the guard out, at the policy rate."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from cdp_msgs.msg import ActionChunk, GuardStatus
from cdp_ros.main import run_node
from cdp_ros.parameters import declare, read
from cdp_ros.stamps import ns_to_stamp, stamp_to_ns
from geometry_msgs.msg import PoseStamped, Twist
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState, Joy

from cdp.config import ConfigError, setting
from cdp_teleop_recorder.teleop_core import NS_PER_S, PERIOD_S, TeleopAction, TeleopConfig, TeleopCore

DEADMAN_BUTTON, GRIPPER_BUTTON = 0, 1


@dataclass(frozen=True)
class TeleopNodeConfig:
    """Settings of the node around the core."""

    reliable: bool = setting(False, help="subscribe to the robot's state reliably instead of best effort")


class TeleopNode(Node):
    """Thin: messages in, :class:`TeleopCore`, actions out."""

    def __init__(self) -> None:
        """Raises ConfigError, or rclpy's own complaint, for a parameter outside its range."""
        super().__init__("cdp_teleop")
        declare(self, TeleopNodeConfig)
        declare(self, TeleopConfig)
        settings, self._core = read(self, TeleopNodeConfig), TeleopCore(read(self, TeleopConfig))
        self._sequence = 0
        self._driving = False
        self._actions = self.create_publisher(ActionChunk, "/cdp/action/operator", QoSProfile(depth=10))
        kind = ReliabilityPolicy.RELIABLE if settings.reliable else ReliabilityPolicy.BEST_EFFORT
        sensor = QoSProfile(depth=5, reliability=kind)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(Twist, "/spacenav/twist", self._on_twist, QoSProfile(depth=10))
        self.create_subscription(Joy, "/spacenav/joy", self._on_joy, QoSProfile(depth=10))
        self.create_subscription(GuardStatus, "/cdp/guard/status", self._on_guard, latched)
        # The broadcaster offers its pose best effort only; a reliable subscription would never match it.
        pose = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(PoseStamped, "/franka_robot_state_broadcaster/current_pose", self._on_pose, pose)
        self.create_subscription(JointState, "/franka_gripper/joint_states", self._on_gripper, sensor)
        self._timer = self.create_timer(PERIOD_S, self._on_timer)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_twist(self, msg: Twist) -> None:
        a, b = msg.linear, msg.angular
        self._core.on_twist(self._now_ns(), [a.x, a.y, a.z], [b.x, b.y, b.z])

    def _on_joy(self, msg: Joy) -> None:
        if len(msg.buttons) <= GRIPPER_BUTTON:
            self.get_logger().error(f"the device has {len(msg.buttons)} buttons; deadman and gripper need two", throttle_duration_sec=5.0)
            return
        self._core.on_buttons(bool(msg.buttons[DEADMAN_BUTTON]), bool(msg.buttons[GRIPPER_BUTTON]))

    def _on_guard(self, msg: GuardStatus) -> None:
        if msg.state == GuardStatus.STATE_REFUSING:
            self._core.on_guard_disengaged()
            return
        p, q = msg.target.position, msg.target.orientation
        self._core.on_guard_target(stamp_to_ns(msg.header.stamp), [p.x, p.y, p.z], [q.x, q.y, q.z, q.w], msg.target_gripper_width_m)

    def _on_pose(self, msg: PoseStamped) -> None:
        if msg.header.frame_id != self._core.config.base_frame:
            self.get_logger().error(f"measured pose is in frame {msg.header.frame_id!r}; ignored", throttle_duration_sec=5.0)
            return
        p, q = msg.pose.position, msg.pose.orientation
        self._core.on_measured_pose(stamp_to_ns(msg.header.stamp), [p.x, p.y, p.z], [q.x, q.y, q.z, q.w])

    def _on_gripper(self, msg: JointState) -> None:
        fingers = [p for name, p in zip(msg.name, msg.position, strict=False) if "finger_joint" in name]
        if len(fingers) == 2:
            self._core.on_measured_width(sum(fingers))

    def _due_ns(self) -> int:
        """The time that this period's call was due: a late call keeps the phase, so that actions are exactly one period apart."""
        until_next_ns = self._timer.time_until_next_call()
        return self._now_ns() + (int(until_next_ns) if until_next_ns is not None else 0) - round(PERIOD_S * NS_PER_S)

    def _on_timer(self) -> None:
        if self._now_ns() == 0:
            return  # simulated time has not begun
        now_ns = self._due_ns()
        action = self._core.tick(now_ns)
        if action.problem:
            self.get_logger().warning(action.problem, throttle_duration_sec=2.0)
        if action.deadman != self._driving:
            self._driving = action.deadman
            self.get_logger().info("deadman held: driving" if action.deadman else "deadman released")
        self._publish(action, now_ns)

    def _publish(self, action: TeleopAction, now_ns: int) -> None:
        msg = ActionChunk(source=ActionChunk.SOURCE_OPERATOR, space=ActionChunk.SPACE_EEF_POSE, sequence=self._sequence)
        self._sequence += 1
        msg.header.frame_id = self._core.config.base_frame
        msg.header.stamp = msg.observation_stamp = ns_to_stamp(now_ns)
        msg.start_stamp = ns_to_stamp(now_ns + round(PERIOD_S * NS_PER_S))
        msg.dt_s = msg.next_within_s = PERIOD_S
        msg.horizon, msg.width = (int(n) for n in action.rows.shape)
        msg.actions = action.rows.astype("float32").ravel().tolist()
        msg.deadman = action.deadman
        self._actions.publish(msg)


def main(args: list[str] | None = None) -> int:
    """Run teleoperation until SIGINT or SIGTERM; 0 then, 2 where a parameter is refused."""
    # The events executor has no timers on simulated time.
    return run_node("cdp_teleop", TeleopNode, refusals=(ConfigError,), args=args, make_executor=SingleThreadedExecutor)


if __name__ == "__main__":
    sys.exit(main())
