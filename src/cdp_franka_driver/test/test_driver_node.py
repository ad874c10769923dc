"""The node with its process and a robot of the test's own, over real DDS."""

import os
import queue
import signal
import time
from pathlib import Path

import pytest
import rclpy
from cdp_ros.domain import own_domain
from cdp_ros.executor import make_executor
from cdp_ros.stamps import ns_to_stamp
from diagnostic_msgs.msg import DiagnosticStatus
from driver_arm import READY
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from cdp.config import ConfigError
from cdp_franka.limits import FR3
from cdp_franka_driver.arm_process import Begin
from cdp_franka_driver.config import ControlConfig
from cdp_franka_driver.driver_node import DriverNode
from cdp_franka_driver.link import ArmLink
from cdp_franka_driver.problems import Kind

DEADLINE_S = 30.0
TOPIC = "/franka_driver/joint_trajectory"


class Bench:
    def __init__(self, monkeypatch, factory):
        monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain()))
        monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        rclpy.init(args=["--ros-args", "-p", "robot_ip:=fake"])
        self.driver = DriverNode(factory)
        self.node = rclpy.create_node("bench")
        self.executor = make_executor()
        for node in (self.driver, self.node):
            self.executor.add_node(node)
        self.joints, self.desired, self.statuses = [], [], []
        best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.node.create_subscription(JointState, "/joint_states", self.joints.append, 10)
        self.node.create_subscription(JointState, "/franka_driver/desired_joint_states", self.desired.append, best_effort)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(DiagnosticStatus, "/franka_driver/status", self.statuses.append, latched)
        self.publisher = self.node.create_publisher(JointTrajectory, TOPIC, 1)
        self.recovery = self.node.create_client(Trigger, "/franka_driver/error_recovery")

    def until(self, condition, what, each=lambda: None):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
            self.executor.spin_once(timeout_sec=0.005)
            each()

    def open(self):
        return self.node.count_subscribers(TOPIC) > 0

    def send(self, offset):
        msg = JointTrajectory(joint_names=list(FR3.joint_names))
        msg.header.stamp = ns_to_stamp(time.time_ns())
        msg.points = [JointTrajectoryPoint(positions=(READY + offset).tolist(), velocities=[0.0] * 7, accelerations=[0.0] * 7)]
        self.publisher.publish(msg)

    def value(self, key):
        return {v.key: v.value for v in self.statuses[-1].values}[key] if self.statuses else ""

    def close(self):
        self.driver.close()
        self.executor.shutdown()
        self.driver.destroy_node()
        self.node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def bench(monkeypatch, request):
    made = Bench(monkeypatch, getattr(request, "param", "driver_arm:FakeArm"))
    yield made
    made.close()


def test_the_arm_is_driven_and_lives_through_the_death_of_the_process_that_holds_it(bench):
    bench.until(bench.open, "the topic for targets")
    bench.until(lambda: bench.joints and bench.value("phase") == "controlling", "joint states and status")
    assert list(bench.joints[-1].position) == pytest.approx(READY.tolist())
    # A stream that goes on from before control: what it wants is not where the arm is.
    bench.until(lambda: bench.value("refused_targets") not in ("", "0"), "the first target, which is far, refused", lambda: bench.send(0.05))
    assert bench.open()
    assert max(state.position[0] for state in bench.joints) < 1e-3
    refused = int(bench.value("refused_targets"))
    bench.until(
        lambda: bench.joints[-1].position[0] > 0.049, "the arm at its target", lambda: bench.send(min(0.05, bench.joints[-1].position[0] + 0.015))
    )
    bench.send(0.5)
    bench.until(lambda: not bench.open(), "the topic shut, which makes the guard disengage")
    bench.until(bench.open, "the topic open again")
    bench.until(lambda: int(bench.value("refused_targets")) > refused, "a refused target")
    assert max(state.position[0] for state in bench.joints) < 0.06
    first = bench.value("process_id")
    os.kill(int(first), signal.SIGKILL)
    bench.until(lambda: not bench.open(), "the topic shut")
    bench.until(bench.open, "the topic open again")
    bench.until(lambda: bench.value("process_id") not in ("", "0", first), "another process")
    future = bench.recovery.call_async(Trigger.Request())
    bench.until(future.done, "an answer to a recovery that is not needed")
    assert future.result().success


@pytest.mark.parametrize("bench", ["driver_arm:mute_robot"], indirect=True)
def test_a_robot_that_is_reached_and_never_answers_does_not_hang_the_node(bench):
    """pylibfranka waits forever with Python's lock held: the process has to be ended, and the node to say so."""
    bench.until(lambda: bench.value("process_id") not in ("", "0"), "a process")
    first = bench.value("process_id")
    bench.until(lambda: "connection lost" in bench.statuses[-1].message, "the complaint")
    bench.until(lambda: bench.value("process_id") != first, "another process")
    assert not bench.open()


@pytest.mark.parametrize("bench", ["driver_arm:SlowlyRecovered"], indirect=True)
def test_a_recovery_that_takes_longer_than_a_silence_is_waited_for_and_the_node_goes_on(bench):
    """Catches a process that is ended in the middle of its recovery, and a node that says nothing meanwhile."""
    bench.until(lambda: bench.value("problem") == "reflex", "the reflex")
    process, heard = bench.value("process_id"), len(bench.statuses)
    future = bench.recovery.call_async(Trigger.Request())
    bench.until(future.done, "the answer")
    assert future.result().success, future.result().message
    assert len(bench.statuses) >= heard + 3
    bench.until(lambda: bench.value("phase") == "controlling", "control")
    assert bench.value("process_id") == process


def test_a_recovery_that_does_not_end_is_answered_and_its_process_ended(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    reports, answers = queue.SimpleQueue(), queue.SimpleQueue()
    link = ArmLink(Begin("fake", ControlConfig(), 100.0), reports.put, "driver_arm:NeverRecovered", recovery_s=0.5)
    try:
        while (problem := reports.get(timeout=DEADLINE_S).problem) is None or problem.kind is not Kind.REFLEX:
            pass
        process = link.process_id
        for _ in range(2):
            link.recover(answers.put)
        assert "under way" in answers.get(timeout=DEADLINE_S).message
        answer = answers.get(timeout=DEADLINE_S)
        assert not answer.success
        assert "did not answer within 0.5 s" in answer.message
        while (problem := reports.get(timeout=DEADLINE_S).problem) is None or problem.kind is not Kind.CONNECTION:
            pass
        while reports.get(timeout=DEADLINE_S).state is None:
            pass
        assert link.process_id != process
    finally:
        link.close()


def test_without_an_address_the_node_does_not_start():
    rclpy.init(args=[])
    try:
        with pytest.raises(ConfigError, match="robot_ip"):
            DriverNode()
    finally:
        rclpy.shutdown()
