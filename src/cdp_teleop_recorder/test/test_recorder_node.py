"""The recorder as a process of its own over DDS: what is sent is in the file, and no end of it leaves half a file."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rclpy
from cdp_msgs.msg import ActionChunk, RecorderStatus, TaskState
from cdp_msgs.srv import StartEpisode, StopEpisode
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState

from cdp.data.collect import collect
from cdp.data.durable import unfinished
from cdp.data.episode import EpisodeReader
from cdp.data.spec import ObservationSpec

DEADLINE_S = 30.0
MS = 1_000_000
ENTRY = "from cdp_teleop_recorder.recorder_node import main; raise SystemExit(main())"


class Robot:
    """Camera, robot and operator that say exactly what they are told, stamp by stamp, reliably."""

    def __init__(self):
        self.context = rclpy.Context()
        self.domain = random.randint(1, 100)
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
        self.process = None
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
            message.header.frame_id = "fr3_link0"
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


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


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


def test_episode_is_what_was_sent_and_gives_a_demonstration(robot, tmp_path):
    robot.launch(tmp_path)
    assert "agentview_image has not been received" in robot.start().message
    stamps = record(robot, 100)
    done = robot.call(robot.stop_client, keep=True, task_success=True, note="by test")
    assert done.success and done.frames == 10 and done.message.startswith("kept slide_")
    with EpisodeReader(done.path) as episode:
        for stream in ("joint_pos", "joint_vel", "eef_pose", "gripper_width"):
            assert episode.stamps_ns(stream).tolist() == stamps
        assert episode.stamps_ns("agentview_image").tolist() == episode.column("action", "observation_stamp_ns").tolist() == stamps[::10]
        assert episode.stamps_ns("task_state").tolist() == stamps[::10]
        assert episode.column("joint_pos")[0].tolist() == [1, 2, 3, 4, 5, 6, 7]
        np.testing.assert_allclose(episode.column("eef_pose")[:, 0], 0.3 + 1e-4 * np.arange(100))
        np.testing.assert_allclose(episode.column("gripper_width"), 0.03)
        assert [int(episode.image(i)[0, 0, 0]) for i in range(10)] == [10 + 10 * i for i in range(10)]
        assert np.all(np.diff(episode.column("joint_pos", "receive_ns")) >= 0)
        assert episode.info.seed == 3 and episode.labels.success and episode.labels.note == "by test" and episode.info.clock == "system"
        assert sum(episode.labels.dropped.values()) == 0 and episode.labels.warnings == ()
    report = collect(tmp_path, tmp_path / "out" / "demos.hdf5", ObservationSpec(camera_rate_hz=10.0))
    assert report.demos == 1 and report.rows == 10


def test_a_second_start_and_an_idle_stop_are_refused_and_discard_leaves_nothing(robot, tmp_path):
    robot.launch(tmp_path)
    assert robot.call(robot.stop_client, keep=True).message == "no episode is being recorded"
    record(robot, 20)
    assert "stop it first" in robot.start().message
    assert robot.call(robot.stop_client, keep=False).message.startswith("discarded slide_")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_signal_in_the_middle_leaves_a_complete_interrupted_episode(robot, tmp_path, ending):
    robot.launch(tmp_path)
    robot.start_when_alive()

    def recorded():
        robot.moment(robot.now_ns(), 1, 7)
        return robot.status.duration_s > 2.0 and robot.received()["joint_pos"] > 20

    robot.until(recorded, "two seconds of an episode")
    robot.process.send_signal(ending)
    robot.until(lambda: robot.process.poll() is not None, "the end of the recorder")
    assert robot.process.returncode == 0, robot.process.stdout.read()
    (path,) = tmp_path.iterdir()
    with EpisodeReader(path) as episode:
        assert not episode.labels.success and episode.labels.note == "interrupted" and len(episode.column("joint_pos")) > 20


def test_kill_in_the_middle_leaves_the_finished_and_names_the_rest(robot, tmp_path):
    robot.launch(tmp_path)
    stamps = record(robot, 30)
    path = robot.call(robot.stop_client, keep=True, task_success=True).path
    record(robot, 30)
    robot.process.kill()
    robot.process.wait(DEADLINE_S)
    (rest,) = unfinished(tmp_path)
    with EpisodeReader(path) as episode:
        assert episode.stamps_ns("joint_pos").tolist() == stamps
    robot.status = None
    robot.launch(tmp_path)
    robot.process.send_signal(signal.SIGINT)
    said, _ = robot.process.communicate(timeout=DEADLINE_S)
    assert f"{rest} was left unfinished" in said and robot.process.returncode == 0
    assert rest.exists() and [p for p in tmp_path.iterdir() if p != rest] == [tmp_path / path.rsplit("/", 1)[-1]]


def test_bad_parameter_ends_the_node_with_its_name(tmp_path):
    command = [sys.executable, "-c", ENTRY, "--ros-args", "-p", "jpeg_quality:=3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 2 and "jpeg_quality out of range. Min: 50, Max: 100, value: 3" in done.stderr
