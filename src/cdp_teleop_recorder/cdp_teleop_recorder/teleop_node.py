"""Teleoperation as a node: a device in, actions for the guard out, at the policy rate."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from cdp_msgs.msg import ActionChunk, GuardStatus
from cdp_ros.main import run_node
from cdp_ros.parameters import declare, read
from cdp_ros.stamps import ns_to_stamp, stamp_to_ns
from geometry_msgs.msg import PoseStamped, Twist
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState, Joy
from std_srvs.srv import SetBool

from cdp.config import ConfigError, setting
from cdp_franka.frames import pose_frame_problem
from cdp_teleop_recorder.authority import NS_PER_S
from cdp_teleop_recorder.devices.base import Reading
from cdp_teleop_recorder.devices.choose import BUTTONS_TOPIC, JOY_TOPIC, TWIST_TOPIC, DeviceConfig, choose, joy_topic, spacenav_topics
from cdp_teleop_recorder.devices.feed import DeviceFeed, Level, Poll
from cdp_teleop_recorder.devices.keys import KeysConfig
from cdp_teleop_recorder.devices.topics import JoyConfig, joy_deflection
from cdp_teleop_recorder.teleop_config import TeleopConfig
from cdp_teleop_recorder.teleop_core import PERIOD_S, TeleopAction, TeleopCore

_GIVE_BACK = "ros2 service call /cdp/teleop/authority std_srvs/srv/SetBool '{data: false}'"


@dataclass(frozen=True)
class TeleopNodeConfig:
    """Settings of the node around the core."""

    reliable: bool = setting(False, help="subscribe to the robot's state reliably instead of best effort")
    device_rate_hz: float = setting(100.0, low=20.0, high=500.0, help="how often the device is read [Hz]")


class TeleopNode(Node):
    """Thin: device and messages in, :class:`TeleopCore`, actions out."""

    def __init__(self) -> None:
        """Raises ConfigError, or rclpy's own complaint, for a parameter outside its range."""
        super().__init__("cdp_teleop")
        kinds = (TeleopNodeConfig, TeleopConfig, DeviceConfig, KeysConfig, JoyConfig)
        for kind in kinds:
            declare(self, kind)
        settings, self._core = read(self, TeleopNodeConfig), TeleopCore(read(self, TeleopConfig))
        self._devices, self._joy_config = read(self, DeviceConfig), read(self, JoyConfig)
        self._spacenav = spacenav_topics(self.count_publishers, time.monotonic_ns)
        self._joy = joy_topic(self._joy_config, self.count_publishers, time.monotonic_ns)
        self.feed = DeviceFeed(choose(self._devices, read(self, KeysConfig), self._spacenav, self._joy, time.monotonic_ns), time.monotonic_ns)
        self._axes_ns = -1
        self._sequence = self._last_ns = 0
        self._driving = self._held = False
        self._actions = self.create_publisher(ActionChunk, "/cdp/action/operator", QoSProfile(depth=10))
        self._listen_to_robot(settings)
        self._listen_to_drivers()
        self.create_service(SetBool, "/cdp/teleop/authority", self._on_authority)
        self._timer = self.create_timer(PERIOD_S, self._on_timer)
        # The hand moves in the machine's time, whatever the robot's clock does. A topic is taken as it comes; only its silence is polled.
        period_s = PERIOD_S if self._devices.device in ("spacenav", "joy") else 1.0 / settings.device_rate_hz
        self.create_timer(period_s, lambda: self._take(self.feed.poll()), clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _listen_to_robot(self, settings: TeleopNodeConfig) -> None:
        sensor = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE if settings.reliable else ReliabilityPolicy.BEST_EFFORT)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(GuardStatus, "/cdp/guard/status", self._on_guard, latched)
        # The broadcaster offers its pose best effort only; a reliable subscription would never match it.
        pose = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(PoseStamped, "/franka_robot_state_broadcaster/current_pose", self._on_pose, pose)
        self.create_subscription(JointState, "/franka_gripper/joint_states", self._on_gripper, sensor)

    def _listen_to_drivers(self) -> None:
        if self._devices.device in ("auto", "spacenav"):
            self.create_subscription(Twist, TWIST_TOPIC, self._on_twist, QoSProfile(depth=10))
            self.create_subscription(Joy, BUTTONS_TOPIC, self._on_spacenav_buttons, QoSProfile(depth=10))
        if self._devices.device in ("auto", "joy"):
            self.create_subscription(Joy, JOY_TOPIC, self._on_joy, QoSProfile(depth=10))

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_twist(self, msg: Twist) -> None:
        a, b = msg.linear, msg.angular
        self._spacenav.put(axes=[a.x, a.y, a.z, b.x, b.y, b.z])
        self._take(self.feed.offer(self._spacenav))

    def _on_spacenav_buttons(self, msg: Joy) -> None:
        self._spacenav.put(buttons=msg.buttons)
        self._take(self.feed.offer(self._spacenav))

    def _on_joy(self, msg: Joy) -> None:
        self._joy.put(joy_deflection(self._joy_config, msg.axes), msg.buttons)
        self._take(self.feed.offer(self._joy))

    def _take(self, poll: Poll) -> None:
        for level, text in poll.says:
            # A call for each: rclpy refuses another severity from the same line.
            if level is Level.INFO:
                self.get_logger().info(text)
            elif level is Level.WARNING:
                self.get_logger().warning(text)
            else:
                self.get_logger().error(text)
        for reading in poll.readings:
            self._apply(reading)
        if poll.lost:
            self._stop()

    def _apply(self, reading: Reading) -> None:
        assert self.feed.active is not None
        deadman, gripper, takeover = self._devices.buttons(self.feed.active.name)
        if reading.stamp_ns != self._axes_ns:
            self._axes_ns = reading.stamp_ns
            self._core.on_axes(self._now_ns(), reading.axes)
        self._core.on_buttons(reading.button(deadman), reading.button(gripper), reading.button(takeover))

    def _stop(self) -> None:
        """The device was lost: the guard hears at once that nothing holds the deadman."""
        if self._core.on_device_lost() and self._driving:
            self._driving = False
            # Stamped as the last one was: it answers no newer observation, and the next one is due as ever.
            self._publish(self._core.stop(), self._last_ns)

    def _on_authority(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._core.authority.request(bool(request.data))
        response.success = True
        response.message = f"the policy is kept out until {_GIVE_BACK}" if request.data else "the policy is followed while the deadman is released"
        return response

    def _on_guard(self, msg: GuardStatus) -> None:
        if msg.state == GuardStatus.STATE_REFUSING:
            self._core.on_guard_disengaged()
            return
        p, q = msg.target.position, msg.target.orientation
        policy = msg.state == GuardStatus.STATE_POLICY
        self._core.on_guard_target(stamp_to_ns(msg.header.stamp), [p.x, p.y, p.z], [q.x, q.y, q.z, q.w], msg.target_gripper_width_m, policy)

    def _on_pose(self, msg: PoseStamped) -> None:
        problem = pose_frame_problem(msg.header.frame_id, self._core.config.pose_frames)
        if problem is not None:
            self.get_logger().error(f"the measured pose is ignored: {problem}", throttle_duration_sec=5.0)
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
        if action.authority != self._held:
            self._held = action.authority
            text = f"the policy is kept out; the takeover button gives it back, or {_GIVE_BACK}"
            self.get_logger().info(text if action.authority else "the policy is no longer kept out")
        self._publish(action, now_ns)
        self._last_ns = now_ns

    def _publish(self, action: TeleopAction, now_ns: int) -> None:
        msg = ActionChunk(source=ActionChunk.SOURCE_OPERATOR, space=ActionChunk.SPACE_EEF_POSE, sequence=self._sequence)
        self._sequence += 1
        msg.header.frame_id = self._core.config.base_frame
        msg.header.stamp = msg.observation_stamp = ns_to_stamp(now_ns)
        msg.start_stamp = ns_to_stamp(now_ns + round(PERIOD_S * NS_PER_S))
        msg.dt_s = msg.next_within_s = PERIOD_S
        msg.horizon, msg.width = (int(n) for n in action.rows.shape)
        msg.actions = action.rows.astype("float32").ravel().tolist()
        msg.deadman, msg.authority, msg.intervention = action.deadman, action.authority, action.intervention
        self._actions.publish(msg)


def main(args: list[str] | None = None) -> int:
    """Run teleoperation until SIGINT or SIGTERM; 0 then, 2 where a parameter is refused."""
    # The events executor has no timers on simulated time.
    return run_node(
        "cdp_teleop", TeleopNode, refusals=(ConfigError,), args=args, make_executor=SingleThreadedExecutor, close=lambda node: node.feed.close()
    )


if __name__ == "__main__":
    sys.exit(main())
