"""Joint targets for CRISP's controllers (crisp_controllers 1.0.0).

``target_joint``, a relative name, sensor_msgs/JointState, depth 1, reliable. The controller takes positions and velocities in the order of its own
parameter ``joints`` and does not look at the names; it ignores the topic while that has more than one publisher.
"""

from __future__ import annotations

from cdp_ros.stamps import ns_to_stamp
from rclpy.node import Node
from sensor_msgs.msg import JointState

from cdp_franka.chunk import Pose
from cdp_franka.guard_types import GuardOutput
from cdp_policy_node.command.interface import TopicCommand
from cdp_policy_node.command.peer import Peer


class CrispJointCommand(TopicCommand):
    """Positions and velocities of all joints, base first."""

    def __init__(self, node: Node, peer: Peer, joint_names: tuple[str, ...]) -> None:
        super().__init__(node, peer, JointState)
        self._joint_names = joint_names

    def send(self, out: GuardOutput, now_ns: int, measured: Pose | None) -> None:
        """See :class:`CommandInterface`."""
        assert out.q_rad is not None and out.dq_rad_s is not None
        msg = JointState(name=list(self._joint_names), position=out.q_rad.tolist(), velocity=out.dq_rad_s.tolist())
        msg.header.stamp = ns_to_stamp(now_ns)
        self._publisher.publish(msg)
