"""A robot that is a process of its own and breaks on demand: it follows the guard's poses by inverse kinematics and shows a picture that changes.

``python fake_arm.py`` takes one fault a line on its standard input and answers each with the word ``done`` once it is in force:
``camera off|on|repeat|freeze``, ``joints off|on``, ``shift SECONDS`` (all its stamps from now on).
"""

from __future__ import annotations

import sys
import threading

import numpy as np
import rclpy
from cdp_ros.executor import make_executor
from cdp_ros.stamps import NS_PER_S, ns_to_stamp
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from cdp.geometry import matrix_to_quat, quat_to_matrix
from cdp_franka.kinematics import READY_RAD, forward, joint_velocity, pose_error

STATE_S, CAMERA_S, GAIN_PER_S = 0.01, 1 / 30, 15.0
HEIGHT, WIDTH, PICTURES = 48, 64, 7
START_M, START = np.array([0.5, 0.0, 0.2]), np.diag([1.0, -1.0, -1.0])


def reach(position_m: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Joint angles (7,) [rad] whose end effector is at a pose."""
    q = np.array(READY_RAD)
    for _ in range(400):
        q = q + 0.1 * joint_velocity(q, pose_error(*forward(q), position_m, rotation), 0.01, READY_RAD, 0.0)
    return q


class FakeArm(Node):
    """Everything that the guard and the policy hear of a robot."""

    def __init__(self) -> None:
        super().__init__("fake_arm")
        self.camera, self.joints, self.shift_ns = "on", "on", 0
        self._q = reach(START_M, START)
        self._dq = np.zeros(7)
        self._target = (START_M, START)
        self._shown = 0
        self._last_image: Image | None = None
        rng = np.random.default_rng(0)
        self._pictures = [rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8).tobytes() for _ in range(PICTURES)]
        self._joints_pub = self.create_publisher(JointState, "/joint_states", 5)
        self._pose_pub = self.create_publisher(PoseStamped, "/franka_robot_state_broadcaster/current_pose", 5)
        self._fingers_pub = self.create_publisher(JointState, "/franka_gripper/joint_states", 5)
        self._image_pub = self.create_publisher(Image, "/agentview/image_raw", 5)
        self.create_subscription(PoseStamped, "/cartesian_impedance_example_controller/equilibrium_pose", self._follow, 10)
        self.create_timer(STATE_S, self._states)
        self.create_timer(CAMERA_S, self._image)

    def _stamp(self) -> object:
        return ns_to_stamp(self.get_clock().now().nanoseconds + self.shift_ns)

    def _follow(self, command: PoseStamped) -> None:
        p, o = command.pose.position, command.pose.orientation
        self._target = (np.array([p.x, p.y, p.z]), quat_to_matrix(np.array([o.x, o.y, o.z, o.w])))

    def _states(self) -> None:
        self._dq = joint_velocity(self._q, GAIN_PER_S * pose_error(*forward(self._q), *self._target), 0.05, READY_RAD, 0.0)
        self._q = self._q + STATE_S * self._dq
        if self.joints == "off":
            return
        position, rotation = forward(self._q)
        stamp = self._stamp()
        joints = JointState(name=[f"fr3_joint{i + 1}" for i in range(7)], position=self._q.tolist(), velocity=self._dq.tolist())
        fingers = JointState(name=["fr3_finger_joint1", "fr3_finger_joint2"], position=[0.03, 0.03], velocity=[0.0, 0.0])
        pose = PoseStamped()
        pose.header.frame_id = "base"
        pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = position.tolist()
        o = pose.pose.orientation
        o.x, o.y, o.z, o.w = matrix_to_quat(rotation).tolist()
        joints.header.stamp = fingers.header.stamp = pose.header.stamp = stamp
        self._joints_pub.publish(joints)
        self._pose_pub.publish(pose)
        self._fingers_pub.publish(fingers)

    def _image(self) -> None:
        if self.camera == "off":
            return
        if self.camera == "repeat" and self._last_image is not None:
            self._image_pub.publish(self._last_image)  # the same frame, old stamp and all, as a driver that lost its camera does
            return
        if self.camera != "freeze":
            self._shown = (self._shown + 1) % PICTURES
        image = Image(height=HEIGHT, width=WIDTH, step=3 * WIDTH, encoding="rgb8", data=self._pictures[self._shown])
        image.header.stamp = self._stamp()
        self._last_image = image
        self._image_pub.publish(image)

    def obey(self, line: str) -> None:
        """Take one fault."""
        what, _, how = line.partition(" ")
        if what == "camera":
            self.camera = how
        elif what == "joints":
            self.joints = how
        elif what == "shift":
            self.shift_ns = round(float(how) * NS_PER_S)
        else:
            raise ValueError(line)


def main() -> int:
    """Run until the standard input ends."""
    rclpy.init()
    arm = FakeArm()
    executor = make_executor()
    executor.add_node(arm)
    ended = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            arm.obey(line.strip())
            sys.stdout.write("done\n")
            sys.stdout.flush()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    while not ended.is_set():
        executor.spin_once(timeout_sec=0.1)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
