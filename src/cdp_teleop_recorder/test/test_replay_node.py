"""The replay node as a process of its own, over real DDS: it engages, walks to the start, sends the rows in order, and measures what it saw."""

import json
import os
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import rclpy
from cdp_msgs.msg import ActionChunk, GuardStatus
from cdp_ros.domain import own_domain
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import SetBool

from cdp.actions import eef_pose, eef_row

DEADLINE_S = 90.0
MAIN = "import sys; from cdp_teleop_recorder.replay_node import main; sys.exit(main())"
ROWS, START = 12, np.array([0.35, 0.0, 0.4])
DOWN = [1.0, 0.0, 0.0, 0.0]


def demo_file(path):
    """A reach along x; the arm stands 0.05 m before its start."""
    positions = START + [0.05, 0.0, 0.0] + 0.005 * np.arange(ROWS)[:, None] * [1.0, 0.0, 0.0]
    rows = eef_row(positions, np.tile(DOWN, (ROWS, 1)), np.full(ROWS, 0.04))
    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        file["data"].attrs["rate_hz"] = 10.0
        demo.attrs["num_samples"] = ROWS
        demo["action_dict/abs_pos"], demo["action_dict/abs_rot_6d"], demo["action_dict/gripper"] = rows[:, :3], rows[:, 3:9], np.zeros((ROWS, 1))
        demo["obs/robot0_eef_pos"], demo["obs/robot0_eef_quat"] = positions, np.tile(DOWN, (ROWS, 1))
        demo["stamp_ns"] = 10**9 + 10**8 * np.arange(ROWS)
    return rows


class Arm:
    """A guard that engages when asked and an arm that is at once where it is sent."""

    def __init__(self, arguments, fault_after=None):
        domain = own_domain()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("arm", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.status = GuardStatus(state=GuardStatus.STATE_REFUSING)
        self.position, self.actions, self.engaged, self.fault_after = START, [], [], fault_after
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.statuses = self.node.create_publisher(GuardStatus, "/cdp/guard/status", latched)
        self.poses = self.node.create_publisher(PoseStamped, "/franka_robot_state_broadcaster/current_pose", 10)
        self.node.create_subscription(ActionChunk, "/cdp/action/policy", self.on_action, 100)
        self.node.create_service(SetBool, "/cdp/guard/engage", self.on_engage)
        self.node.create_timer(0.01, self.report)
        command = [sys.executable, "-c", MAIN, "--ros-args", *(word for a in arguments for word in ("-p", a))]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    def on_engage(self, request, response):
        self.engaged.append(request.data)
        self.status.state = GuardStatus.STATE_HOLDING if request.data else GuardStatus.STATE_REFUSING
        response.success = True
        return response

    def on_action(self, message):
        self.actions.append(message)
        position, _, _ = eef_pose(np.asarray(message.actions))
        self.position = position
        if self.fault_after is not None and len(self.actions) >= self.fault_after:
            self.status.state, self.status.message = GuardStatus.STATE_FAULT, "target outside the workspace box"

    def report(self):
        now = self.node.get_clock().now().to_msg()
        self.status.header.stamp = now
        self.status.target.position.x, self.status.target.position.y, self.status.target.position.z = map(float, self.position)
        self.status.target.orientation.x, self.status.target.orientation.w, self.status.target_gripper_width_m = 1.0, 0.0, 0.04
        self.statuses.publish(self.status)
        pose = PoseStamped()
        pose.header.stamp, pose.header.frame_id, pose.pose = now, "fr3_link0", self.status.target
        self.poses.publish(pose)

    def run(self):
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "the replay did not end"
            self.executor.spin_once(timeout_sec=0.02)
        return self.process.returncode, self.process.stderr.read()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.shutdown()


@pytest.fixture
def arm():
    made = []

    def make(*arguments, **options):
        made.append(Arm(arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ns(stamp):
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def test_the_rows_are_sent_in_order_after_the_way_to_the_start(arm, tmp_path):
    rows = demo_file(tmp_path / "d.hdf5")
    robot = arm(f"file:={tmp_path}/d.hdf5", "reset:=false", f"output:={tmp_path}/out", "settle_s:=0.3")
    status, errors = robot.run()
    assert status == 0, errors
    results = json.loads((tmp_path / "out/results.json").read_text())
    # 0.05 m at 0.1 m/s and 10 Hz.
    assert results["approach_rows"] == 5 and results["success"] is None and results["fault"] is None and results["rows_compared"] == ROWS
    assert robot.engaged == [True, False]
    sent = np.array([message.actions for message in robot.actions])
    assert {(m.source, m.space, m.horizon, m.deadman, m.header.frame_id) for m in robot.actions} == {(2, 1, 1, True, "fr3_link0")}
    assert all(ns(m.start_stamp) - ns(m.observation_stamp) == 100_000_000 for m in robot.actions)
    assert np.all(np.diff([ns(m.observation_stamp) for m in robot.actions]) > 0)
    # Every message is a row of the way or of the demonstration, none goes back, and the last is the demonstration's last.
    x = sent[:, 0]
    assert np.all(np.diff(x) >= -1e-7) and x[0] >= START[0] and x[-1] == pytest.approx(rows[-1, 0])
    steps = np.concatenate([START[0] + 0.01 * np.arange(1, 6), rows[:, 0]])
    assert np.abs(x[:, None] - steps).min(axis=1).max() < 1e-6
    # The arm jumps to each target a period early: at row k it is already there. Off by one row would be 5 mm, and each period that the machine
    # kept the node from sending may add as much.
    held_up = np.diff([ns(m.observation_stamp) for m in robot.actions]).max() / 100_000_000 - 1.0
    assert results["position_error_mm"]["rms"] < 5.0 * (1.0 + max(0.0, held_up))


def test_a_fault_of_the_guard_ends_the_replay(arm, tmp_path):
    demo_file(tmp_path / "d.hdf5")
    robot = arm(f"file:={tmp_path}/d.hdf5", "reset:=false", f"output:={tmp_path}/out", fault_after=4)
    status, _ = robot.run()
    assert status == 1 and json.loads((tmp_path / "out/results.json").read_text())["fault"] == "target outside the workspace box"
    assert len(robot.actions) < ROWS


def test_a_demonstration_that_is_not_there_is_refused(arm, tmp_path):
    demo_file(tmp_path / "d.hdf5")
    status, errors = arm(f"file:={tmp_path}/d.hdf5", "demo:=demo_7").run()
    assert status == 2 and "has no demo_7; it has demo_0 to demo_0" in errors
