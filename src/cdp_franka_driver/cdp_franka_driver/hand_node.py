"""Franka's hand behind ``/cdp/gripper_command`` without franka_ros2: the topics and services of cdp_gripper and of franka_gripper's joint states."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from cdp_msgs.msg import GripperCommand
from cdp_ros.main import run_node
from cdp_ros.parameters import declare, read
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from cdp.config import ConfigError, setting
from cdp_franka.gripper import Cancel, Goal, GripperConfig, GripperCore, Kind
from cdp_franka_driver.hand import Hand, HandError, HandState, Status

_FINGERS = ("fr3_finger_joint1", "fr3_finger_joint2")
_RETRY_NS = 1_000_000_000


@dataclass(frozen=True)
class HandConfig:
    """Settings of the node around the core."""

    robot_ip: str = setting("", help="the robot's address, as of franka_driver")
    step_rate_hz: float = setting(50.0, low=5.0, high=200.0, help="rate at which hand and target are looked at [Hz]")


class HandNode(Node):
    """Thin: messages in, :class:`GripperCore`, goals of :class:`Hand` out."""

    def __init__(self) -> None:
        """Raises ConfigError for a refused parameter."""
        super().__init__("franka_hand")
        declare(self, HandConfig)
        declare(self, GripperConfig)
        self._settings, self._config = read(self, HandConfig), read(self, GripperConfig)
        if not self._settings.robot_ip:
            raise ConfigError("robot_ip: the robot's address is missing; add -p robot_ip:=172.16.0.2")
        self._core = GripperCore(self._config)
        # The hand moves in real time, whatever the simulated time.
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._hand: Hand | None = None
        self._goal, self._retry_ns, self._said = 0, 0, ""
        # The number of a stop, and that of the goal that it stops.
        self._stopping = (0, 0)
        self._joints = self.create_publisher(JointState, "/franka_gripper/joint_states", 10)
        self.create_subscription(GripperCommand, "/cdp/gripper_command", self._on_command, QoSProfile(depth=1))
        self.create_service(Trigger, "/cdp/gripper/home", self._on_home)
        self.create_service(Trigger, "/cdp/gripper/stop", self._on_stop)
        self.create_timer(1.0 / self._settings.step_rate_hz, self._step, clock=self._clock)

    def _now_ns(self) -> int:
        return int(self._clock.now().nanoseconds)

    def _on_command(self, msg: GripperCommand) -> None:
        refusal = self._core.on_target(msg.width_m, msg.max_effort_n, self._now_ns())
        if refusal is not None:
            self.get_logger().error(refusal, throttle_duration_sec=5.0)

    def _on_home(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._core.home()
        response.success, response.message = True, "the hand is homed as soon as it is free; take out what it holds"
        return response

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._core.stop()
        response.success, response.message = False, "the hand is not connected; nothing new is sent before the next new target"
        if self._hand is not None:
            try:
                self._stop(self._hand)
                response.success, response.message = True, "the hand is told to stop; it moves again at the next new target"
            except HandError as error:
                self._lost(error)
        return response

    def _step(self) -> None:
        try:
            if self._hand is None:
                self._connect()
            else:
                self._serve(self._hand)
        except HandError as error:
            self._lost(error)

    def _connect(self) -> None:
        if self._now_ns() < self._retry_ns:
            return
        self._hand, self._said = Hand(self._settings.robot_ip), ""
        self.get_logger().info(f"connected to the hand at {self._settings.robot_ip}")

    def _serve(self, hand: Hand) -> None:
        state = hand.state()
        if state is not None:
            self._core.on_width(state.width_m)
            self._joints.publish(self._message(state))
        for answer in hand.answers():
            if answer.number == self._goal:
                self._end(answer.status)
            elif self._goal and (answer.number, self._goal) == self._stopping:
                # The hand says that it has stopped: what was under way has ended, whether or not it says so of the goal too.
                self._end(Status.ABORTED)
        asked = self._core.step(self._now_ns())
        if isinstance(asked, Goal):
            self._goal = self._send(hand, asked)
        elif isinstance(asked, Cancel):
            if asked is Cancel.TOO_LONG:
                self.get_logger().error(f"{self._core.running} is stopped after {self._config.goal_timeout_s} s")
            self._stop(hand)

    def _stop(self, hand: Hand) -> None:
        self._stopping = hand.stop(), self._goal

    def _send(self, hand: Hand, goal: Goal) -> int:
        self.get_logger().info(str(goal))
        config = self._config
        if goal.kind is Kind.HOME:
            return hand.homing()
        if goal.kind is Kind.MOVE:
            return hand.move(goal.width_m, config.speed_m_s)
        return hand.grasp(goal.width_m, config.speed_m_s, goal.force_n, config.epsilon_inner_m, config.epsilon_outer_m)

    def _end(self, status: Status) -> None:
        self._goal = 0
        complaint = self._core.done(status is Status.SUCCESS, {Status.UNSUCCESSFUL: "it met nothing of that size"}.get(status, status.name.lower()))
        if complaint is not None:
            self.get_logger().error(complaint)

    def _lost(self, error: HandError) -> None:
        if self._hand is not None:
            self._hand.close()
            self._hand = None
            self._core.lost()
            self._goal = 0
        self._retry_ns = self._now_ns() + _RETRY_NS
        if str(error) != self._said:
            self._said = str(error)
            self.get_logger().error(self._said)

    def _message(self, state: HandState) -> JointState:
        msg = JointState(name=list(_FINGERS), position=[0.5 * state.width_m] * 2, velocity=[0.0, 0.0], effort=[0.0, 0.0])
        msg.header.stamp = self.get_clock().now().to_msg()
        return msg


def main(args: list[str] | None = None) -> int:
    """Run the hand until SIGINT or SIGTERM; 0 then, 2 where a parameter is refused."""
    return run_node("franka_hand", HandNode, refusals=(ConfigError,), args=args, make_executor=SingleThreadedExecutor)


if __name__ == "__main__":
    sys.exit(main())
