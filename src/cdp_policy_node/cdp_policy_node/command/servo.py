"""Twists and poses for MoveIt Servo (moveit_servo 2.12.4, the jazzy release).

``~/delta_twist_cmds``, geometry_msgs/TwistStamped, and ``~/pose_target_cmds``, geometry_msgs/PoseStamped, SystemDefaultsQoS. Servo listens to one
kind of command at a time, chosen by the service ``~/switch_command_type`` (moveit_msgs/ServoCommandType); it stops for a command stamped more than
``incoming_command_timeout`` (0.1 s) ago. A twist is in m/s and rad/s only where its parameter ``moveit_servo.command_in_type`` is ``speed_units``,
and turns about the end effector while ``apply_twist_commands_about_ee_frame`` is true, its default. The end of Servo's move group has to be the
guard's end effector: the group fr3_manipulator, not fr3_arm.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from cdp_ros.stamps import NS_PER_S, ns_to_stamp
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node

from cdp.config import ConfigError
from cdp.geometry import FloatArray, quat_to_matrix
from cdp_franka.chunk import Pose
from cdp_franka.guard_types import GuardOutput
from cdp_franka.rotation import turn_between
from cdp_policy_node.command.ask import ParameterQuestion, Question
from cdp_policy_node.command.interface import CommandInterface, TopicCommand
from cdp_policy_node.command.peer import Peer, Reader

UNITS = "moveit_servo.command_in_type"
# Two commands further apart than this do not belong to one motion.
_PAUSE_S = 0.1


class TwistCommand(TopicCommand):
    """The velocity of the commanded pose, and a pull towards it by which the arm does not drift away."""

    def __init__(self, node: Node, peer: Peer, frame_id: str, gain_per_s: float) -> None:
        super().__init__(node, peer, TwistStamped)
        self._frame_id, self._gain_per_s = frame_id, gain_per_s
        self._last: tuple[int, Pose] | None = None

    def send(self, out: GuardOutput, now_ns: int, measured: Pose | None) -> None:
        """See :class:`CommandInterface`."""
        assert out.position_m is not None and out.quat_xyzw is not None
        target = Pose(out.position_m, quat_to_matrix(out.quat_xyzw))
        twist = np.zeros(6)
        if self._last is not None and 0 < now_ns - self._last[0] <= _PAUSE_S * NS_PER_S:
            twist += _between(self._last[1], target) * (NS_PER_S / (now_ns - self._last[0]))
        if measured is not None:
            twist += self._gain_per_s * _between(measured, target)
        self._last = now_ns, target
        msg = TwistStamped()
        msg.header.stamp, msg.header.frame_id = ns_to_stamp(now_ns), self._frame_id
        linear, angular = msg.twist.linear, msg.twist.angular
        linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = twist.tolist()
        self._publisher.publish(msg)


class ServoCommand:
    """One of the two commands, once Servo has been switched to it."""

    def __init__(self, node: Node, command: CommandInterface, servo: str, kind: str) -> None:
        """``kind``: TWIST or POSE. Raises ConfigError where moveit_msgs is not installed."""
        try:
            service = importlib.import_module("moveit_msgs.srv").ServoCommandType
        except ImportError:
            raise ConfigError(
                "controller: moveit_msgs, which MoveIt Servo needs, is not installed or not sourced: apt install ros-$ROS_DISTRO-moveit-servo"
            ) from None
        self._command, self._servo, self._kind = command, servo, kind
        self._request = service.Request(command_type=getattr(service.Request, kind))
        self._question = Question(node, service, f"{servo}/switch_command_type", self._on_switched)
        self._units = ParameterQuestion(node, servo, (UNITS,)) if kind == "TWIST" else None
        self._readers: frozenset[Reader] = frozenset()
        self._switched = False

    def problem(self) -> str | None:
        """See :class:`CommandInterface`."""
        missing = self._command.problem()
        if missing is not None:
            return missing
        if not self._switched:
            return f"{self._servo}: asked to take commands of type {self._kind} by {self._servo}/switch_command_type; it has not agreed yet"
        if self._units is None:
            return None
        if self._units.answer is None:
            return f"{self._servo}: {self._units.waiting}"
        units = self._units.answer[UNITS]
        return None if units == "speed_units" else f"{self._servo}: its {UNITS} is {units!r}; start it with {UNITS}: speed_units"

    def readers(self) -> frozenset[Reader]:
        """See :class:`CommandInterface`."""
        return self._command.readers()

    def prepare(self) -> None:
        """Switch Servo; switch it again when it has started anew."""
        readers = self.readers()
        if readers != self._readers:
            self._switched = False
            self._question.forget()
            if self._units is not None:
                self._units.forget()
        self._readers = readers
        if readers and self._units is not None:
            self._units.ask()
        if readers and not self._switched:
            self._question.ask(self._request)

    def send(self, out: GuardOutput, now_ns: int, measured: Pose | None) -> None:
        """See :class:`CommandInterface`. Sends nothing before Servo has agreed."""
        if self._switched:
            self._command.send(out, now_ns, measured)

    def _on_switched(self, response: Any) -> None:
        self._switched = bool(response.success)


def _between(start: Pose, end: Pose) -> FloatArray:
    return np.concatenate([end.position_m - start.position_m, turn_between(start.rotation, end.rotation)])
