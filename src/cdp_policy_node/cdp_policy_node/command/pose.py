"""Target poses, geometry_msgs/PoseStamped, for three controllers that differ in name and manners only.

cartesian_impedance: ``~/equilibrium_pose`` of Franka's cartesian_impedance_example_controller (franka_ros2 3.4.0, jazzy), SystemDefaultsQoS; it
reads neither frame nor stamp. That example moves by itself: it writes a demonstration's position over the commanded one in every cycle
(``updateMotionTarget``). Use it with that call taken out, or in this repository's simulator, which has no such motion.

crisp_pose: ``target_pose``, a relative name, of CRISP's CartesianController (crisp_controllers 1.0.0), depth 1, reliable; it reads neither frame
nor stamp, and ignores the topic while that has more than one publisher.

servo_pose: ``~/pose_target_cmds`` of MoveIt Servo, see ``servo``.
"""

from __future__ import annotations

from cdp_ros.stamps import ns_to_stamp
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from cdp_franka.chunk import Pose
from cdp_franka.guard_types import GuardOutput
from cdp_policy_node.command.interface import TopicCommand
from cdp_policy_node.command.peer import Peer
from cdp_policy_node.guard_messages import pose_msg


class PoseCommand(TopicCommand):
    """The commanded end-effector pose, stamped with the tick."""

    def __init__(self, node: Node, peer: Peer, frame_id: str) -> None:
        super().__init__(node, peer, PoseStamped)
        self._frame_id = frame_id

    def send(self, out: GuardOutput, now_ns: int, measured: Pose | None) -> None:
        """See :class:`CommandInterface`."""
        msg = PoseStamped(pose=pose_msg(out))
        msg.header.stamp, msg.header.frame_id = ns_to_stamp(now_ns), self._frame_id
        self._publisher.publish(msg)
