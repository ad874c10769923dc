"""Stand-ins for the robot's controllers: each takes the messages that the real one takes, and says why it refuses one.

The rules are those of the controllers' sources, and beyond them what makes a real arm stop: a jump from one command to the next.
"""

import numpy as np
from cdp_ros.stamps import NS_PER_S, stamp_to_ns
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from cdp_franka.limits import FR3, FR3_CARTESIAN

# A message may not arrive at once: the stand-in's clock is this much past the newest tick.
TRANSPORT_NS = 3_000_000
# franka_hardware and the example controllers run at 1 kHz: what lies within a millisecond is one step to them.
CONTROL_S = 1e-3


class Peer:
    """Listens on ``topic`` and keeps what it accepts and why it refused."""

    message, depth = None, 10

    def __init__(self, node, topic, base_frame="fr3_link0"):
        self.node, self.topic, self.base_frame = node, topic, base_frame
        self.now_ns = 0
        self.count, self.accepted, self.refused = 0, [], []
        self.subscription = node.create_subscription(self.message, topic, self.receive, QoSProfile(depth=self.depth))

    def receive(self, msg):
        self.count += 1
        why = self.stamped_wrongly(msg) or self.wrong(msg)
        if why is None:
            self.accepted.append(msg)
        else:
            self.refused.append(why)

    def stamped_wrongly(self, msg):
        if not hasattr(msg, "header"):
            return None
        stamp_ns = stamp_to_ns(msg.header.stamp)
        if self.accepted and stamp_ns <= stamp_to_ns(self.accepted[-1].header.stamp):
            return "time goes backwards"
        return "stamped in the future" if stamp_ns > self.now_ns else None

    def wrong(self, msg):
        raise NotImplementedError


class JointTrajectoryPeer(Peer):
    """JointTrajectoryController::validate_trajectory_msg with controllers_fr3.yaml, and the spline between two points within the arm's limits."""

    message = JointTrajectory

    def wrong(self, msg):
        if list(msg.joint_names) != list(FR3.joint_names):
            return "joints in another order" if sorted(msg.joint_names) == sorted(FR3.joint_names) else "joints do not match the controller's"
        if len(msg.points) != 1:
            return "not one point"
        point = msg.points[0]
        if len(point.positions) != 7 or len(point.velocities) != 7:
            return "positions or velocities missing"
        due_ns = stamp_to_ns(msg.header.stamp) + stamp_to_ns(point.time_from_start)
        if due_ns < self.now_ns:
            return "ends in the past"
        if len(point.accelerations) not in (0, 7) or np.any(np.abs(point.accelerations) > FR3.ddq_max_rad_s2[: len(point.accelerations)]):
            return "accelerations"
        return self._jump(np.array(point.positions), np.array(point.velocities), point.accelerations, due_ns)

    def _jump(self, q, dq, accelerations, due_ns):
        if FR3.position_violation(q, 0.0) is not None or np.any(np.abs(dq) > FR3.dq_max_rad_s):
            return "outside the joint limits"
        if not self.accepted:
            return None
        last = self.accepted[-1]
        seconds = (due_ns - stamp_to_ns(last.header.stamp) - stamp_to_ns(last.points[0].time_from_start)) / NS_PER_S
        q0, dq0 = np.array(last.points[0].positions), np.array(last.points[0].velocities)
        if np.any(np.abs(q - q0) > FR3.dq_max_rad_s * seconds):
            return "discontinuous positions"
        if last.points[0].accelerations and accelerations:
            on_the_way = quintic_acceleration((q0, dq0, np.array(last.points[0].accelerations)), (q, dq, np.array(accelerations)), seconds)
        else:
            # At either end of the cubic through both points, where it is greatest.
            mean = (q - q0) / seconds
            on_the_way = np.stack([6 * mean - 4 * dq0 - 2 * dq, -6 * mean + 2 * dq0 + 4 * dq]) / seconds
        return "discontinuous velocities" if np.any(np.abs(on_the_way) > FR3.ddq_max_rad_s2) else None


class PosePeer(Peer):
    """A Cartesian controller that takes poses in its base frame, without a jump."""

    message = PoseStamped

    def wrong(self, msg):
        if msg.header.frame_id != self.base_frame:
            return "wrong frame"
        p, q = values(msg.pose.position, "xyz"), values(msg.pose.orientation, "xyzw")
        if abs(np.linalg.norm(q) - 1.0) > 1e-6:
            return "degenerate quaternion"
        if not self.accepted:
            return None
        last = self.accepted[-1]
        seconds = (stamp_to_ns(msg.header.stamp) - stamp_to_ns(last.header.stamp)) / NS_PER_S
        turn = 2 * np.arccos(min(1.0, abs(float(q @ values(last.pose.orientation, "xyzw")))))
        if np.linalg.norm(p - values(last.pose.position, "xyz")) > FR3_CARTESIAN.speed_m_s * seconds or turn > FR3_CARTESIAN.turn_rad_s * seconds:
            return "discontinuous poses"
        return None


class AlonePeer:
    """CRISP: a topic with more than one publisher is ignored."""

    depth = 1

    def receive(self, msg):
        if len(self.node.get_publishers_info_by_topic(self.topic)) > 1:
            self.count += 1
            self.refused.append("multiple publishers")
        else:
            super().receive(msg)


class CrispPosePeer(AlonePeer, PosePeer):
    """CartesianController, ``target_pose``."""


class CrispJointPeer(AlonePeer, Peer):
    """CartesianController, ``target_joint``: by position in the message, whatever the names."""

    message = JointState
    joints = FR3.joint_names

    def __init__(self, node, topic):
        super().__init__(node, topic)
        node.declare_parameter("joints", list(self.joints))

    def wrong(self, msg):
        if len(msg.position) != 7 or len(msg.velocity) != 7:
            return "positions or velocities missing"
        q = np.array([msg.position[self.joints.index(name)] for name in FR3.joint_names])
        return in_order_and_continuous(q, msg.position, self.accepted and self.accepted[-1].position)


class CrispReversedPeer(CrispJointPeer):
    """One whose parameter ``joints`` begins at the hand."""

    joints = FR3.joint_names[::-1]


class ForwardPeer(Peer):
    """ForwardCommandController with its joints from the hand to the base, and parameters that say so."""

    message = Float64MultiArray
    joints = tuple(reversed(FR3.joint_names))

    def __init__(self, node, topic, interface_name="position"):
        super().__init__(node, topic)
        node.declare_parameter("joints", list(self.joints))
        node.declare_parameter("interface_name", interface_name)

    def wrong(self, msg):
        if len(msg.data) != len(self.joints):
            return "command size does not match number of interfaces"
        q = np.array([msg.data[self.joints.index(name)] for name in FR3.joint_names])
        return in_order_and_continuous(q, msg.data, self.accepted and self.accepted[-1].data)


class ServoPeer:
    """MoveIt Servo: one kind of command at a time, none older than 0.1 s, in the planning frame."""

    number, timeout_ns = None, 100_000_000

    def __init__(self, node, topic, units="speed_units"):
        from moveit_msgs.srv import ServoCommandType

        super().__init__(node, topic)
        self.listens_to = None
        node.declare_parameter("moveit_servo.command_in_type", units)
        self.service = node.create_service(ServoCommandType, f"{topic.rsplit('/', 1)[0]}/switch_command_type", self._switch)

    def _switch(self, request, response):
        self.listens_to, response.success = request.command_type, True
        return response

    def wrong(self, msg):
        if self.listens_to != self.number:
            return "command type has not been set"
        if self.now_ns - stamp_to_ns(msg.header.stamp) >= self.timeout_ns:
            return "stale"
        return super().wrong(msg)


class ServoPosePeer(ServoPeer, PosePeer):
    number = 2


class TwistPeer(Peer):
    message = TwistStamped

    def wrong(self, msg):
        if msg.header.frame_id != self.base_frame:
            return "wrong frame"
        linear, angular = values(msg.twist.linear, "xyz"), values(msg.twist.angular, "xyz")
        if not np.all(np.isfinite([*linear, *angular])):
            return "not finite"
        if np.linalg.norm(linear) > FR3_CARTESIAN.speed_m_s or np.linalg.norm(angular) > FR3_CARTESIAN.turn_rad_s:
            return "faster than the arm"
        if self.accepted:
            last = self.accepted[-1]
            seconds = (stamp_to_ns(msg.header.stamp) - stamp_to_ns(last.header.stamp)) / NS_PER_S
            jumps = np.linalg.norm(linear - values(last.twist.linear, "xyz")), np.linalg.norm(angular - values(last.twist.angular, "xyz"))
            if jumps[0] > FR3_CARTESIAN.acceleration_m_s2 * seconds or jumps[1] > FR3_CARTESIAN.turn_acceleration_rad_s2 * seconds:
                return "discontinuous twists"
        return None


class ServoTwistPeer(ServoPeer, TwistPeer):
    number = 1


def in_order_and_continuous(q, raw, last):
    """``q``: what the controller makes of the numbers ``raw``; ``last``: the numbers before."""
    if FR3.position_violation(q, 0.0) is not None:
        return "joints in another order"
    # No stamp, so no time: the greatest joint speed for a tick and a tenth.
    if last and np.any(np.abs(np.subtract(raw, last)) > FR3.dq_max_rad_s.max() * 0.011):
        return "discontinuous positions"
    return None


def values(msg, names):
    return np.array([getattr(msg, name) for name in names])


def quintic_acceleration(start, end, seconds):
    """Accelerations (11, 7) on the quintic between two states of position, velocity and acceleration."""
    (q0, dq0, ddq0), (q, dq, ddq) = start, end
    way, change, bend = q - q0 - seconds * dq0 - 0.5 * seconds**2 * ddq0, dq - dq0 - seconds * ddq0, ddq - ddq0
    c3 = (10 * way - 4 * seconds * change + 0.5 * seconds**2 * bend) / seconds**3
    c4 = (-15 * way + 7 * seconds * change - seconds**2 * bend) / seconds**4
    c5 = (6 * way - 3 * seconds * change + 0.5 * seconds**2 * bend) / seconds**5
    t = np.linspace(0.0, seconds, 11)[:, None]
    return ddq0 + 6 * c3 * t + 12 * c4 * t**2 + 20 * c5 * t**3
