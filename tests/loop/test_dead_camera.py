"""The camera dies under a running policy, everything launched together: one error, the arm holds, and the policy goes on when it is back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from cdp_msgs.msg import GuardStatus, PolicyStatus
from cdp_ros.call import Call
from cdp_ros.executor import make_executor
from geometry_msgs.msg import PoseStamped
from loop_pass import ROOT, alive_in_domain
from rcl_interfaces.msg import Log
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

RELAYED = "/relayed/image_raw"
DEADLINE_S = 90.0


class Cable:
    """Carries the simulator's images to the policy while it is plugged in, and watches both policy and guard."""

    def __init__(self, domain: str) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=int(domain))
        self.node = rclpy.create_node("camera_cable", context=self.context)
        self.executor = make_executor(context=self.context)
        self.executor.add_node(self.node)
        self.plugged = True
        self.guard: list[GuardStatus] = []
        self.policy: list[PolicyStatus] = []
        self.targets: list[PoseStamped] = []
        self.images = self.node.create_publisher(Image, RELAYED, 4)
        self.node.create_subscription(Image, "/agentview/image_raw", self._carry, 4, raw=True)
        latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(GuardStatus, "/cdp/guard/status", self.guard.append, latched)
        self.node.create_subscription(PolicyStatus, "/cdp/policy/status", self.policy.append, 20)
        self.node.create_subscription(PoseStamped, "/cartesian_impedance_example_controller/equilibrium_pose", self.targets.append, 100)
        self.errors: list[str] = []
        self.node.create_subscription(Log, "/rosout", self._hear, 100)
        self._engage = self.node.create_client(SetBool, "/cdp/guard/engage")

    def _carry(self, message: bytes) -> None:
        if self.plugged:
            self.images.publish(message)

    def _hear(self, message: Log) -> None:
        if message.name == "cdp_policy" and message.level >= Log.ERROR:
            self.errors.append(message.msg)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"waited {DEADLINE_S:.0f} s for {what}; guard {self.guard[-1:]}, policy {self.policy[-1:]}"
            self.executor.spin_once(timeout_sec=0.05)

    def engage(self) -> None:
        self.until(self._engage.service_is_ready, "the guard")
        answers: list[SetBool.Response] = []

        def accepted() -> bool:
            # The guard refuses until it has heard every state of the robot.
            call = Call(self._engage, SetBool.Request(data=True))
            self.until(call.done, "the guard's answer")
            answers.append(call.result())
            return bool(answers[-1].success)

        self.until(accepted, "the guard to engage")

    def guard_is(self, state: int) -> bool:
        return bool(self.guard) and self.guard[-1].state == state

    def policy_is(self, state: int) -> bool:
        return bool(self.policy) and self.policy[-1].state == state

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def cable(domain: str) -> Iterator[Cable]:
    made = Cable(domain)
    yield made
    made.close()


def test_a_dead_camera_is_one_error_and_the_arm_holds(tmp_path: Path, domain: str, cable: Cable):
    command = ["ros2", "launch", "cdp_policy_node", "franka_slide.launch.py", "episodes:=0", "bundle:=slide", f"image_topic:={RELAYED}"]
    environment = {**os.environ, "ROS_DOMAIN_ID": domain}
    log = tmp_path / "launch.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        cable.until(lambda: cable.policy_is(PolicyStatus.STATE_RUNNING), "a running policy")
        cable.engage()
        cable.until(lambda: cable.guard_is(GuardStatus.STATE_POLICY), "the guard to follow the policy")
        # Whatever a busy machine had it say before: from here on the camera is dead.
        cable.errors.clear()
        cable.plugged = False
        cable.until(lambda: cable.policy_is(PolicyStatus.STATE_WAITING), "the policy to notice")
        assert RELAYED in cable.policy[-1].message
        cable.until(lambda: cable.guard_is(GuardStatus.STATE_HOLDING), "the guard to hold")
        cable.targets.clear()
        cable.until(lambda: len(cable.targets) > 50, "commands while holding")
        # From the speed limit the guard needs 0.2 s to come to rest.
        held = np.array([[t.pose.position.x, t.pose.position.y, t.pose.position.z] for t in cable.targets[25:]])
        assert np.ptp(held, axis=0).max() == 0.0, "the target moved while the camera was dead"
        cable.until(lambda: len(cable.errors) > 0, "the error on /rosout")
        assert len(cable.errors) == 1 and RELAYED in cable.errors[0], cable.errors
        cable.plugged = True
        cable.until(lambda: cable.policy_is(PolicyStatus.STATE_RUNNING), "the policy to go on")
        cable.until(lambda: cable.guard_is(GuardStatus.STATE_POLICY), "the guard to follow again")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        finally:
            if process.poll() is None:
                process.kill()
    assert process.returncode == 0, log.read_text()
    assert alive_in_domain(domain) == []
