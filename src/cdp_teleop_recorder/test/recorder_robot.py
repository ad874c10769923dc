"""A robot that publishes exactly what it is told, and the recorder beside it as a process of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from cdp_msgs.msg import ActionChunk, RecorderStatus, TaskState
from cdp_msgs.srv import StartEpisode, StopEpisode
from cdp_ros.domain import own_domain
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState

DEADLINE_S = 30.0
MS = 1_000_000
ENTRY = "from cdp_teleop_recorder.recorder_node import main; raise SystemExit(main())"


class Robot:
    """Camera, robot and operator that say exactly what they are told, stamp by stamp, reliably."""

    def __init__(self):
        self.context = rclpy.Context()
        self.domain = own_domain()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = rclpy.create_node("robot", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        topics = {
            "image": (Image, "/agentview/image_raw"),
            "joints": (JointState, "/joint_states"),
            "pose": (PoseStamped, "/franka_robot_state_broadcaster/current_pose"),
            "fingers": (JointState, "/franka_gripper/joint_states"),
            "action": (ActionChunk, "/cdp/action/operator"),
            "task": (TaskState, "/cdp_sim/task"),
        }
        self.publishers = {name: self.node.create_publisher(kind, topic, qos) for name, (kind, topic) in topics.items() if name != "pose"}
        # As franka_robot_state_broadcaster does.
        pose_qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.publishers["pose"] = self.node.create_publisher(*topics["pose"], pose_qos)
        self.start_client = self.node.create_client(StartEpisode, "/cdp/recorder/start")
        self.stop_client = self.node.create_client(StopEpisode, "/cdp/recorder/stop")
        self.status = None
        latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(RecorderStatus, "/cdp/recorder/status", self._on_status, latched)
        self.process, self.pose_frame = None, "base"
        self.answer = ""
        self.heard = 0

    def _on_status(self, message):
        self.status = message
        self.heard += 1

    def launch(self, folder, *parameters):
        arguments = [f"directory:={folder}", "reliable:=true", "image_rate_hz:=10.0", "gripper_rate_hz:=100.0", "silent_after_s:=20.0", *parameters]
        flags = [part for argument in arguments for part in ("-p", argument)]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(self.domain), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", ENTRY, "--ros-args", *flags], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.until(lambda: all(p.get_subscription_count() for p in self.publishers.values()) and self.status is not None, "the recorder")
        self.until(lambda: self.start_client.service_is_ready() and self.stop_client.service_is_ready(), "the recorder's services")

    def until(self, condition, what):
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"waited for {what} in vain; the recorder said: {self.answer}"
            self.executor.spin_once(timeout_sec=0.02)

    def now_ns(self):
        return self.node.get_clock().now().nanoseconds

    def say(self, topic, t_ns, **fields):
        message = self.publishers[topic].msg_type(**fields)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(t_ns, 1_000_000_000)
        if topic == "pose":
            message.header.frame_id = self.pose_frame
        self.publishers[topic].publish(message)

    def moment(self, t_ns, k, picture):
        """State at ``t_ns``, and every tenth time an image of 240x320 with the operator's answer."""
        joints = [f"fr3_joint{i}" for i in range(7, 0, -1)]
        self.say("joints", t_ns, name=joints, position=[float(i) for i in range(7, 0, -1)], velocity=[0.5] * 7)
        pose = PoseStamped().pose
        pose.position.x, pose.orientation.w = 0.3 + 1e-4 * k, 1.0
        self.say("pose", t_ns, pose=pose)
        self.say("fingers", t_ns, name=["fr3_finger_joint1", "fr3_finger_joint2"], position=[0.01, 0.02])
        if k % 10 == 0:
            pixels = np.full((240, 320, 3), picture, np.uint8)
            self.say("image", t_ns, height=240, width=320, step=960, encoding="rgb8", data=pixels.tobytes())
            self.say("task", t_ns)
            chunk = {"source": 1, "space": 1, "horizon": 1, "width": 10, "dt_s": 0.1, "deadman": True}
            message = ActionChunk(**chunk, actions=np.array([0.3 + 1e-4 * k, 0, 0.4, 1, 0, 0, 0, 1, 0, 0.03], np.float32))
            message.observation_stamp.sec, message.observation_stamp.nanosec = divmod(t_ns, 1_000_000_000)
            message.header.frame_id = "fr3_link0"
            message.header.stamp = message.observation_stamp
            self.publishers["action"].publish(message)

    def received(self):
        return dict(zip(self.status.streams, self.status.received, strict=True))

    def call(self, client, **fields):
        future = client.call_async(client.srv_type.Request(**fields))
        self.until(future.done, client.srv_name)
        return future.result()

    def written(self, path):
        """The file of an episode that was kept, once it is there."""
        self.until(Path(path).exists, f"the file {path}")
        return path

    def start(self, **fields):
        return self.call(self.start_client, **{"task": "slide", "operator_name": "test", "seed": 3, **fields})

    def start_when_alive(self):
        """Start once the recorder has heard of every stream and has nothing of that left to read."""

        def started():
            self.moment(self.now_ns(), 0, 0)
            self.answer = self.start().message
            return self.answer.startswith("recording")

        self.until(started, "the start")
        self.call(self.stop_client, keep=False)
        # Two more of its periodic messages: by then it has read all that was sent before.
        self.heard = 0
        self.until(lambda: self.heard >= 3, "the recorder's status")
        assert self.start().success

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.communicate()
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


def record(robot, count):
    """Start, and play ``count`` moments until the recorder has them; returns their stamps."""
    robot.start_when_alive()
    start_ns = robot.now_ns()
    stamps = [start_ns + k * 10 * MS for k in range(count)]
    for k, t_ns in enumerate(stamps):
        robot.moment(t_ns, k, 10 + k)
        robot.executor.spin_once(timeout_sec=0.001)
    streams = {
        "joint_pos": count,
        "eef_pose": count,
        "gripper_width": count,
        "agentview_image": count // 10,
        "action": count // 10,
        "task_state": count // 10,
    }
    robot.until(lambda: all(robot.received()[name] >= n for name, n in streams.items()), "the messages")
    return stamps
