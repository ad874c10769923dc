"""Points for joint_trajectory_controller (ros2_controllers 4.42.1, the jazzy release).

``~/joint_trajectory``, trajectory_msgs/JointTrajectory, SystemDefaultsQoS. Each message replaces the one before. The controller refuses, with a
line in its log, a message that lacks one of its joints, whose last point has a velocity while ``allow_nonzero_velocity_at_trajectory_end`` is
false, or whose last point is due before the message arrives; an inactive controller drops all of them without a word. With
``interpolate_from_desired_state`` it goes from where its own reference is, by a cubic through positions and velocities, or a quintic where there
are accelerations as well. Past the last point it keeps that point's velocity as the reference's until ``cmd_timeout``. config/controllers_fr3.yaml
sets all three.
"""

from __future__ import annotations

from cdp_ros.stamps import NS_PER_S, ns_to_stamp
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from cdp_franka.chunk import Pose
from cdp_franka.guard_types import GuardOutput
from cdp_policy_node.command.interface import TopicCommand
from cdp_policy_node.command.peer import Peer

PLUGIN = "joint_trajectory_controller/JointTrajectoryController"


class JointTrajectoryCommand(TopicCommand):
    """One point with positions, velocities and accelerations, due ``lead_s`` after its stamp."""

    def __init__(self, node: Node, peer: Peer, joint_names: tuple[str, ...], lead_s: float) -> None:
        super().__init__(node, peer, JointTrajectory)
        self._joint_names, self._lead_ns = joint_names, round(lead_s * NS_PER_S)

    def send(self, out: GuardOutput, now_ns: int, measured: Pose | None) -> None:
        """See :class:`CommandInterface`."""
        assert out.q_rad is not None and out.dq_rad_s is not None and out.ddq_rad_s2 is not None
        msg = JointTrajectory(joint_names=list(self._joint_names))
        msg.header.stamp = ns_to_stamp(now_ns)
        point = JointTrajectoryPoint(positions=out.q_rad.tolist(), velocities=out.dq_rad_s.tolist(), accelerations=out.ddq_rad_s2.tolist())
        point.time_from_start.sec, point.time_from_start.nanosec = divmod(self._lead_ns, NS_PER_S)
        msg.points = [point]
        self._publisher.publish(msg)
