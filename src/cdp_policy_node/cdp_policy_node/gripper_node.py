"""Franka's hand behind ``/cdp/gripper_command``, in a process of its own: however long a goal takes, it delays nobody.

Actions of franka_gripper (franka_ros2 3.4.0, jazzy): ``~/homing``, ``~/move``, ``~/grasp``, and the service ``~/stop``. Its
``~/gripper_action`` is not used: the position there is half of the width.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

from action_msgs.msg import GoalStatus
from cdp_msgs.msg import GripperCommand
from cdp_ros.main import run_node
from cdp_ros.parameters import declare, read
from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from cdp.config import ConfigError, setting
from cdp_franka.gripper import Cancel, Goal, GripperConfig, GripperCore, Kind
from cdp_policy_node.guard_messages import gripper_width_m


@dataclass(frozen=True)
class GripperNodeConfig:
    """Settings of the node around the core."""

    gripper_node: str = setting("/franka_gripper", help="name of franka_gripper's node, with its namespace")
    step_rate_hz: float = setting(50.0, low=5.0, high=200.0, help="rate at which the target is looked at [Hz]")


class GripperNode(Node):
    """Thin: messages in, :class:`GripperCore`, action goals out."""

    def __init__(self) -> None:
        """Raises ConfigError for a refused parameter, or where franka_msgs is not installed."""
        super().__init__("cdp_gripper")
        declare(self, GripperNodeConfig)
        declare(self, GripperConfig)
        self._settings, self._config = read(self, GripperNodeConfig), read(self, GripperConfig)
        self._core = GripperCore(self._config)
        # The hand moves in real time, whatever the simulated time.
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._actions = _actions()
        name = self._settings.gripper_node
        self._action_clients = {kind: ActionClient(self, action, f"{name}/{kind.value}") for kind, action in self._actions.items()}
        self._stop = self.create_client(Trigger, f"{name}/stop")
        self._handle: Any = None
        self._goal_number = 0
        self._cancel_wanted = self._missing = False
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(GripperCommand, "/cdp/gripper_command", self._on_command, QoSProfile(depth=1))
        self.create_subscription(JointState, f"{name}/joint_states", self._on_joints, best_effort)
        self.create_service(Trigger, "/cdp/gripper/home", self._on_home)
        self.create_service(Trigger, "/cdp/gripper/stop", self._on_stop)
        self.create_timer(1.0 / self._settings.step_rate_hz, self._step, clock=self._clock)

    def _now_ns(self) -> int:
        return int(self._clock.now().nanoseconds)

    def _on_command(self, msg: GripperCommand) -> None:
        refusal = self._core.on_target(msg.width_m, msg.max_effort_n, self._now_ns())
        if refusal is not None:
            self.get_logger().error(refusal, throttle_duration_sec=5.0)

    def _on_joints(self, msg: JointState) -> None:
        width_m = gripper_width_m(msg)
        if width_m is not None:
            self._core.on_width(width_m)

    def _on_home(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._core.home()
        response.success, response.message = True, "the hand is homed as soon as it is free; take out what it holds"
        return response

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._core.stop()
        response.success = self._stop.service_is_ready()
        if response.success:
            self._stop.call_async(Trigger.Request())
            response.message = "the hand is told to stop; it moves again at the next new target"
        else:
            response.message = f"{self._settings.gripper_node}/stop is not there; nothing new is sent before the next new target"
        return response

    def _step(self) -> None:
        if not self._server_is_there():
            return
        asked = self._core.step(self._now_ns())
        if isinstance(asked, Goal):
            self._send(asked)
        elif isinstance(asked, Cancel):
            if asked is Cancel.TOO_LONG:
                self.get_logger().error(
                    f"{self._core.running} is cancelled after {self._config.goal_timeout_s} s; nothing is sent before the hand answers"
                )
            self._cancel_wanted = True
        if self._cancel_wanted and self._handle is not None:
            self._cancel_wanted = False
            self._handle.cancel_goal_async()

    def _server_is_there(self) -> bool:
        there = all(client.server_is_ready() for client in self._action_clients.values())
        if not there and not self._missing:
            name = self._settings.gripper_node
            self.get_logger().error(
                f"no {name}/homing, move or grasp; the newest target is kept; start franka_gripper: load_gripper:=true at the bring-up"
            )
            self._forget()
            self._core.lost()
        elif there and self._missing:
            self.get_logger().info(f"{self._settings.gripper_node} is there")
        self._missing = not there
        return there

    def _send(self, goal: Goal) -> None:
        self._goal_number += 1
        number, config = self._goal_number, self._config
        request = self._actions[goal.kind].Goal()
        if goal.kind is not Kind.HOME:
            request.width, request.speed = goal.width_m, config.speed_m_s
        if goal.kind is Kind.GRASP:
            request.force, request.epsilon.inner, request.epsilon.outer = goal.force_n, config.epsilon_inner_m, config.epsilon_outer_m
        self.get_logger().info(str(goal))
        self._action_clients[goal.kind].send_goal_async(request).add_done_callback(lambda future: self._on_accepted(number, future.result()))

    def _on_accepted(self, number: int, handle: Any) -> None:
        if number != self._goal_number:
            return
        if not handle.accepted:
            self._end(number, False, "the hand refused the goal")
            return
        self._handle = handle
        handle.get_result_async().add_done_callback(lambda future: self._on_result(number, future.result()))

    def _on_result(self, number: int, answer: Any) -> None:
        self._end(number, answer.status == GoalStatus.STATUS_SUCCEEDED and answer.result.success, answer.result.error)

    def _end(self, number: int, success: bool, error: str) -> None:
        if number != self._goal_number:
            return
        self._forget()
        complaint = self._core.done(success, error)
        if complaint is not None:
            self.get_logger().error(complaint)

    def _forget(self) -> None:
        """From here on an answer to the goal under way is an answer to none."""
        self._goal_number += 1
        self._handle, self._cancel_wanted = None, False


def _actions() -> dict[Kind, Any]:
    try:
        actions = importlib.import_module("franka_msgs.action")
    except ImportError:
        raise ConfigError(
            "franka_msgs is not installed or not sourced: it comes with franka_ros2, source that workspace first (docs/robot.md)"
        ) from None
    return {Kind.HOME: actions.Homing, Kind.MOVE: actions.Move, Kind.GRASP: actions.Grasp}


def main(args: list[str] | None = None) -> int:
    """Run the gripper until SIGINT or SIGTERM; 0 then, 2 where a parameter is refused or franka_msgs is missing."""
    return run_node("cdp_gripper", GripperNode, refusals=(ConfigError,), args=args, make_executor=SingleThreadedExecutor)


if __name__ == "__main__":
    sys.exit(main())
