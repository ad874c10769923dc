"""A robot that moves nothing but its stamps, and the policy node as a process in front of it; for tests."""

import os
import subprocess
import sys
import time

import numpy as np
import rclpy
from cdp_msgs.msg import ActionChunk, PolicyStatus
from cdp_ros.call import Call
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState

DEADLINE_S = 15.0
MAIN = "import sys; from cdp_policy_node.policy_node import main; sys.exit(main())"


def ns(stamp):
    return stamp.sec * 1_000_000_000 + stamp.nanosec


class Robot:
    """Publishes what the policy sees, states at 100 Hz and images at 30 Hz, and keeps what comes back."""

    def __init__(self, domain):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("fake_robot", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.images = self.node.create_publisher(Image, "/agentview/image_raw", 10)
        self.poses = self.node.create_publisher(PoseStamped, "/franka_robot_state_broadcaster/current_pose", 10)
        self.fingers = self.node.create_publisher(JointState, "/franka_gripper/joint_states", 10)
        self.pose_frame = "base"
        self.camera_alive, self.image_stamps, self.answers, self.statuses, self.diagnostics = True, [], [], [], []
        self.node.create_subscription(ActionChunk, "/cdp/action/policy", self.answers.append, 100)
        self.node.create_subscription(PolicyStatus, "/cdp/policy/status", self.statuses.append, 100)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, 100)
        self.pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8).tobytes()
        self.process = None
        self.node.create_timer(0.01, self.publish_states)
        self.node.create_timer(1 / 30, self.publish_image)

    def publish_states(self):
        pose, fingers = PoseStamped(), JointState(name=["fr3_finger_joint1", "fr3_finger_joint2"], position=[0.04, 0.04])
        pose.header.stamp = fingers.header.stamp = self.node.get_clock().now().to_msg()
        pose.header.frame_id = self.pose_frame
        pose.pose.position.x, pose.pose.orientation.x = 0.5, 1.0
        self.poses.publish(pose)
        self.fingers.publish(fingers)

    def publish_image(self):
        if not self.camera_alive:
            return
        image = Image(height=48, width=64, step=192, encoding="rgb8", data=self.pixels)
        image.header.stamp = self.node.get_clock().now().to_msg()
        self.image_stamps.append(ns(image.header.stamp))
        self.images.publish(image)

    def until(self, condition, what):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.process is None or self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}; last status: {self.statuses[-1:]}"
            self.executor.spin_once(timeout_sec=0.05)

    def spin(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.01)

    def call(self, kind, service, **fields):
        client = self.node.create_client(kind, f"/cdp_policy/{service}")
        self.until(client.service_is_ready, service)
        # A transition that was made is refused the second time.
        call = Call(client, kind.Request(**fields), None if kind is ChangeState else 5.0)
        self.until(call.done, service)
        self.node.destroy_client(client)
        return call.result()

    def change(self, transition):
        return self.call(ChangeState, "change_state", transition=Transition(id=transition)).success

    def lifecycle_state(self):
        return self.call(GetState, "get_state").current_state.label

    def set(self, **values):
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        return self.call(SetParametersAtomically, "set_parameters_atomically", parameters=parameters).result

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def start(domain, main=MAIN, **parameters):
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", main, "--ros-args", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def end(process, signal_number):
    process.send_signal(signal_number)
    try:
        return process.wait(timeout=10), process.stderr.read()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stderr.close()
