"""A virtual SpaceMouse: publishes what the spacenav driver would, moved by the scripted operator instead of a hand.

It acts while the guard is engaged, starts anew with every scene, and lets the deadman go when the task is done or its patience ends.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from cdp_msgs.msg import GuardStatus, TaskState
from cdp_ros.main import run_node
from cdp_ros.parameters import declare, read
from cdp_ros.stamps import NS_PER_S, stamp_to_ns
from geometry_msgs.msg import Pose, Twist
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Joy

from cdp.config import ConfigError, setting
from cdp.geometry import FloatArray
from cdp_franka_sim.operator_core import OperatorCommand, OperatorView, ScriptedOperator

ENGAGED = (GuardStatus.STATE_HOLDING, GuardStatus.STATE_OPERATOR)
RELEASED = OperatorCommand(np.zeros(6), deadman=False)


@dataclass(frozen=True)
class ScriptedOperatorConfig:
    """Settings of the node around the scripted operator."""

    task: str = setting("slide", choices=("slide",), help="task that the operator knows")
    patience_s: float = setting(30.0, low=1.0, high=600.0, help="time after which an episode is given up [s]")


class ScriptedOperatorNode(Node):
    """One answer to each task state: a twist, then the buttons."""

    def __init__(self) -> None:
        """Raises ConfigError for a parameter that is refused."""
        super().__init__("cdp_scripted_operator")
        declare(self, ScriptedOperatorConfig)
        self._settings = read(self, ScriptedOperatorConfig)
        self._operator = ScriptedOperator()
        self._episode: int | None = None
        self._started_ns: int | None = None
        self._engaged = False
        self._twists = self.create_publisher(Twist, "/spacenav/twist", 10)
        self._buttons = self.create_publisher(Joy, "/spacenav/joy", 10)
        self.create_subscription(GuardStatus, "/cdp/guard/status", self._on_guard, QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self.create_subscription(TaskState, "/cdp_sim/task", self._on_task, 30)

    def _on_guard(self, status: GuardStatus) -> None:
        self._engaged = status.state in ENGAGED

    def _on_task(self, task: TaskState) -> None:
        now_ns = stamp_to_ns(task.header.stamp)
        if task.episode != self._episode:
            self._episode, self._started_ns = task.episode, None
            self._operator.reset(max(int(task.seed), 0))
        self._publish(self._command(task, now_ns), task)

    def _command(self, task: TaskState, now_ns: int) -> OperatorCommand:
        if not self._engaged:
            return RELEASED
        if self._started_ns is None:
            self._started_ns = now_ns
        if now_ns - self._started_ns > self._settings.patience_s * NS_PER_S:
            return RELEASED
        eef = task.eef.position
        view = OperatorView(now_ns / NS_PER_S, np.array([eef.x, eef.y, eef.z]), _values(task.object), _values(task.goal), task.success)
        return self._operator.command(view)

    def _publish(self, command: OperatorCommand, task: TaskState) -> None:
        twist = Twist()
        axes = [float(v) for v in command.twist]
        twist.linear.x, twist.linear.y, twist.linear.z = axes[:3]
        twist.angular.x, twist.angular.y, twist.angular.z = axes[3:]
        self._twists.publish(twist)
        joy = Joy(axes=axes, buttons=[int(command.deadman), int(command.gripper_toggle)])
        joy.header.stamp = task.header.stamp
        self._buttons.publish(joy)


def _values(pose: Pose) -> FloatArray:
    p, q = pose.position, pose.orientation
    return np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w])


def main(args: list[str] | None = None) -> int:
    """Run the scripted operator until SIGINT or SIGTERM; 0 then, 2 where a parameter is refused."""
    return run_node("cdp_scripted_operator", ScriptedOperatorNode, refusals=(ConfigError,), args=args)


if __name__ == "__main__":
    sys.exit(main())
