"""Joint targets for CRISP's controllers (crisp_controllers 1.0.0).

``target_joint``, a relative name, sensor_msgs/JointState, depth 1, reliable. The controller takes positions and velocities in the order of its own
parameter ``joints``, which is asked for, and does not look at the names; it ignores the topic while that has more than one publisher.
"""

from __future__ import annotations

from cdp_ros.stamps import ns_to_stamp
from rclpy.node import Node
from sensor_msgs.msg import JointState

from cdp_franka.chunk import Pose
from cdp_franka.guard_types import GuardOutput
from cdp_policy_node.command.interface import TopicCommand
from cdp_policy_node.command.joint_order import JointOrder
from cdp_policy_node.command.peer import Peer


class CrispJointCommand(TopicCommand):
    """Positions and velocities of all joints, in the controller's own order."""

    def __init__(self, node: Node, peer: Peer, order: JointOrder) -> None:
        super().__init__(node, peer, JointState)
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
        if names is None:
            return
        assert out.q_rad is not None and out.dq_rad_s is not None
        msg = JointState(name=names, position=self._order.arrange(out.q_rad, names), velocity=self._order.arrange(out.dq_rad_s, names))
        msg.header.stamp = ns_to_stamp(now_ns)
        self._publisher.publish(msg)
