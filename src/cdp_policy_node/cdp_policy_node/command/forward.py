"""Joint positions for forward_command_controller/ForwardCommandController (ros2_controllers 4.42.1, the jazzy release).

``~/commands``, std_msgs/Float64MultiArray, SystemDefaultsQoS: numbers without names, in the order of the controller's parameter ``joints``, for
the command interface of its parameter ``interface_name``. Both are asked for before anything is sent: the same seven numbers on an effort interface
would be torques. On a real FR3 nothing limits the rate of this interface: a late message ends in a discontinuity reflex.
"""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from cdp_franka.chunk import Pose
from cdp_franka.guard_types import GuardOutput
from cdp_policy_node.command.ask import ParameterQuestion
from cdp_policy_node.command.interface import TopicCommand
from cdp_policy_node.command.peer import Peer

PLUGIN = "forward_command_controller/ForwardCommandController"


class ForwardPositionCommand(TopicCommand):
    """All joint positions in the controller's own order, which is asked for."""

    def __init__(self, node: Node, peer: Peer, joint_names: tuple[str, ...], controller: str) -> None:
        super().__init__(node, peer, Float64MultiArray)
        self._joint_names, self._controller = joint_names, controller
        self._question = ParameterQuestion(node, controller, ("joints", "interface_name"))

    def problem(self) -> str | None:
        """See :class:`CommandInterface`."""
        missing = super().problem()
        if missing is not None:
            return missing
        answer = self._question.answer
        return f"{self._controller}: {self._question.waiting}" if answer is None else self._wrong(answer)

    def prepare(self) -> None:
        """Ask for the order; ask again when the controller has gone and come back."""
        if super().problem() is None:
            self._question.ask()
        else:
            self._question.forget()

    def send(self, out: GuardOutput, now_ns: int, measured: Pose | None) -> None:
        """See :class:`CommandInterface`. Sends nothing while the order is not known."""
        answer = self._question.answer
        if answer is None or self._wrong(answer) is not None:
            return
        assert out.q_rad is not None
        by_name = dict(zip(self._joint_names, out.q_rad.tolist(), strict=True))
        self._publisher.publish(Float64MultiArray(data=[by_name[name] for name in answer["joints"]]))

    def _wrong(self, answer: dict[str, Any]) -> str | None:
        joints, interface = answer["joints"] or (), answer["interface_name"]
        if interface != "position":
            return f"{self._controller}: its interface_name is {interface!r}, not 'position'; command a {PLUGIN} whose interface_name is position"
        if sorted(joints) != sorted(self._joint_names):
            return (
                f"{self._controller}: its joints are {', '.join(joints) or 'none'}, not {', '.join(self._joint_names)}; correct its parameter joints"
            )
        return None
