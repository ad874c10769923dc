"""Joint positions for forward_command_controller/ForwardCommandController (ros2_controllers 4.42.1, the jazzy release).

``~/commands``, std_msgs/Float64MultiArray, SystemDefaultsQoS: numbers without names, in the order of the controller's parameter ``joints``, for
the command interface of its parameter ``interface_name``. Both are asked for before anything is sent: the same seven numbers on an effort interface
would be torques. On a real FR3 nothing limits the rate of this interface: a late message ends in a discontinuity reflex.
"""

from __future__ import annotations

from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from cdp_franka.chunk import Pose
from cdp_franka.guard_types import GuardOutput
from cdp_policy_node.command.interface import TopicCommand
from cdp_policy_node.command.joint_order import JointOrder
from cdp_policy_node.command.peer import Peer

PLUGIN = "forward_command_controller/ForwardCommandController"
EXPECTED = {"interface_name": "position"}


class ForwardPositionCommand(TopicCommand):
    """All joint positions, in the controller's own order."""

    def __init__(self, node: Node, peer: Peer, order: JointOrder) -> None:
        super().__init__(node, peer, Float64MultiArray)
        self._order = order

    def problem(self) -> str | None:
        """See :class:`CommandInterface`."""
        return super().problem() or self._order.problem()

    def prepare(self) -> None:
        """Ask for the order."""
        self._order.prepare(self.readers())

    def send(self, out: GuardOutput, now_ns: int, measured: Pose | None) -> None:
        """See :class:`CommandInterface`. Sends nothing while the order is not known."""
        names = self._order.names()
        if names is not None:
            assert out.q_rad is not None
            self._publisher.publish(Float64MultiArray(data=self._order.arrange(out.q_rad, names)))
