"""Teleoperation as a process of its own, over real DDS."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rclpy
from cdp_msgs.msg import ActionChunk, GuardStatus
from cdp_ros.call import Call
from cdp_ros.domain import own_domain
from geometry_msgs.msg import PoseStamped, Twist
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState, Joy
from std_srvs.srv import SetBool

from cdp.actions import eef_pose

DEADLINE_S = 30.0
MS = 1_000_000
MAIN = "import sys; from cdp_teleop_recorder.teleop_node import main; sys.exit(main())"
HERE = np.array([0.5, 0.0, 0.25])


def ns(stamp):
    return stamp.sec * 1_000_000_000 + stamp.nanosec


class Desk:
    """The robot and the SpaceMouse of a simulated world that steps 10 ms at a time."""

    def __init__(self, *parameters):
        domain = own_domain()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("desk", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.actions = []
        self.node.create_subscription(ActionChunk, "/cdp/action/operator", self.actions.append, 100)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.guard = self.node.create_publisher(GuardStatus, "/cdp/guard/status", latched)
        self.twists = self.node.create_publisher(Twist, "/spacenav/twist", 10)
        self.joys = self.node.create_publisher(Joy, "/spacenav/joy", 10)
        self.poses = self.node.create_publisher(PoseStamped, "/franka_robot_state_broadcaster/current_pose", 5)
        self.fingers = self.node.create_publisher(JointState, "/franka_gripper/joint_states", 5)
        self.clock = self.node.create_publisher(Clock, "/clock", 5)
        self.gamepad = self.node.create_publisher(Joy, "/joy", 10)
        self.pad: Joy | None = None
        self.ns = 5_000_000_000
        self.twist, self.buttons, self.pose_frame = [0.0] * 6, [0, 0], "base"
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", MAIN, "--ros-args", "-p", "use_sim_time:=true", "-p", "reliable:=true"]
        command += [word for parameter in parameters for word in ("-p", parameter)]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    def until(self, condition, what):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.process.poll() is None, f"teleoperation ended: {self.process.stderr.read()}"
            assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
            self.executor.spin_once(timeout_sec=0.002)

    def step(self):
        """10 ms of simulated time. Like the guard in lock-step, waits for the action that is due."""
        self.ns += 10 * MS
        stamp = rclpy.time.Time(nanoseconds=self.ns).to_msg()
        pose = PoseStamped()
        pose.header.stamp, pose.header.frame_id = stamp, self.pose_frame
        pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = HERE
        pose.pose.orientation.x, pose.pose.orientation.w = 1.0, 0.0
        self.poses.publish(pose)
        self.fingers.publish(JointState(name=["fr3_finger_joint1", "fr3_finger_joint2"], position=[0.03, 0.03]))
        twist = Twist()
        twist.linear.x, twist.linear.y, twist.linear.z, twist.angular.x, twist.angular.y, twist.angular.z = self.twist
        self.twists.publish(twist)
        self.joys.publish(Joy(buttons=self.buttons))
        if self.pad is not None:
            self.gamepad.publish(self.pad)
        self.clock.publish(Clock(clock=stamp))
        if self.actions:
            self.until(lambda: ns(self.actions[-1].observation_stamp) + 100 * MS > self.ns, f"the action that is due at {self.ns}")

    def run(self, milliseconds):
        for _ in range(milliseconds // 10):
            self.step()
        return self.actions[-1]

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=10), self.process.stderr.read()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stderr.close()
            self.executor.shutdown()
            self.node.destroy_node()
            rclpy.shutdown(context=self.context)


def test_driving_in_simulated_time():
    desk = Desk()
    publishers = (desk.guard, desk.twists, desk.joys, desk.poses, desk.fingers, desk.clock)
    try:
        desk.until(lambda: all(p.get_subscription_count() == 1 for p in publishers), "teleoperation's subscriptions")
        desk.until(lambda: desk.actions or desk.step(), "the first message")
        idle = desk.run(300)
        # Until the node has begun, the clock does not wait for it: only from here on are the actions in step.
        steady = len(desk.actions) - 1
        assert (idle.horizon, idle.deadman, idle.source) == (0, False, ActionChunk.SOURCE_OPERATOR)

        commanded = HERE + np.array([0.0, 0.02, 0.01])
        status = GuardStatus(state=GuardStatus.STATE_HOLDING, target_gripper_width_m=0.05)
        status.header.stamp = rclpy.time.Time(nanoseconds=desk.ns).to_msg()
        status.target.position.x, status.target.position.y, status.target.position.z = commanded
        status.target.orientation.x, status.target.orientation.w = 1.0, 0.0
        desk.guard.publish(status)
        desk.buttons = [1, 0]
        first = len(desk.actions)
        desk.run(300)
        driven = [a for a in desk.actions[first:] if a.deadman]
        row = np.array(driven[0].actions, dtype=np.float64)
        position, rotation, width = eef_pose(row)
        np.testing.assert_allclose(position, commanded, atol=1e-6)
        np.testing.assert_allclose(rotation, np.diag([1.0, -1.0, -1.0]), atol=1e-6)
        assert width == pytest.approx(0.05, abs=1e-6)

        desk.twist = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
        desk.buttons = [1, 1]
        last = desk.run(300)
        assert last.actions[2] == pytest.approx(commanded[2] + 0.3 * 0.2, abs=0.0201)
        assert last.actions[9] == 0.0
        desk.buttons = [0, 0]
        assert (desk.run(300).deadman, desk.actions[-1].horizon) == (False, 0)
    finally:
        code, log = desk.close()
    assert code == 0
    assert "Traceback" not in log
    stamps = np.array([ns(a.observation_stamp) for a in desk.actions[steady:]])
    # A steady 10 Hz in simulated time, however the wall clock runs; a step of the clock is 10 ms.
    assert set(np.diff(stamps)) == {100 * MS}
    assert all(ns(a.start_stamp) - ns(a.observation_stamp) == 100 * MS and a.next_within_s == 0.1 for a in desk.actions)
    assert list(np.diff([a.sequence for a in desk.actions])) == [1] * (len(desk.actions) - 1)


def test_a_bad_parameter_keeps_it_from_starting_and_is_named():
    environment = {**os.environ, "ROS_DOMAIN_ID": str(own_domain())}
    command = [sys.executable, "-c", MAIN, "--ros-args", "-p", "closed_width_m:=0.15"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "closed_width_m" in done.stderr
    assert "Traceback" not in done.stderr


def pad(held=False, forward=0.0, takeover=False):
    """A gamepad as game_controller_node numbers it."""
    buttons = [0] * 15
    buttons[9], buttons[3] = int(held), int(takeover)
    return Joy(axes=[0.0, forward, 0.0, 0.0, 0.0, 0.0], buttons=buttons)


def test_a_gamepad_drives_is_lost_at_once_and_must_be_let_go_before_it_drives_again():
    desk = Desk("device:=joy")
    try:
        desk.until(lambda: desk.gamepad.get_subscription_count() == 1 and desk.poses.get_subscription_count() == 1, "teleoperation's subscriptions")
        assert desk.twists.get_subscription_count() == 0, "a gamepad was asked for, and the SpaceMouse's topics are listened to"
        desk.pad = pad()
        desk.until(lambda: desk.actions or desk.step(), "the first message")
        desk.pad = pad(held=True, forward=1.0)
        desk.until(lambda: desk.step() or (desk.actions[-1].horizon and desk.actions[-1].actions[0] > HERE[0] + 0.03), "driving forward")
        desk.pad = None
        desk.until(lambda: desk.step() or not desk.actions[-1].deadman, "the stop when the gamepad falls silent")
        # The stop waited for no period: it bears the stamp of the message before it. The message of the next tick may have come behind it.
        held = max(k for k, action in enumerate(desk.actions) if action.deadman)
        stop = desk.actions[held + 1]
        assert ns(stop.observation_stamp) == ns(desk.actions[held].observation_stamp)
        assert stop.horizon == 0 and stop.authority and not stop.intervention
        desk.pad = pad(held=True, forward=1.0)
        desk.run(500)
        assert not desk.actions[-1].deadman, "it drove on without being let go"
        desk.pad = pad()
        desk.run(200)
        desk.pad = pad(held=True, forward=1.0)
        desk.until(lambda: desk.step() or desk.actions[-1].horizon, "driving again")
        assert not desk.actions[-1].authority
    finally:
        code, log = desk.close()
    assert code == 0 and "Traceback" not in log
    assert "joy: nothing comes on /joy: the arm stops; plug the gamepad in" in log
    assert log.count("moved by what is published on /joy") == 2


def test_the_authority_is_taken_by_button_and_by_service_and_an_intervention_is_marked():
    desk = Desk("device:=joy")
    client = desk.node.create_client(SetBool, "/cdp/teleop/authority")
    try:
        desk.until(lambda: desk.gamepad.get_subscription_count() == 1 and client.service_is_ready(), "teleoperation's subscriptions")
        desk.pad = pad()
        desk.until(lambda: desk.actions or desk.step(), "the first message")
        status = GuardStatus(state=GuardStatus.STATE_POLICY, target_gripper_width_m=0.05)
        status.header.stamp = rclpy.time.Time(nanoseconds=desk.ns).to_msg()
        status.target.orientation.x, status.target.orientation.w = 1.0, 0.0
        desk.guard.publish(status)
        desk.run(200)
        desk.pad = pad(takeover=True)
        desk.until(lambda: desk.step() or desk.actions[-1].authority, "the authority, by button")
        assert desk.actions[-1].intervention and not desk.actions[-1].deadman
        call = Call(client, SetBool.Request(data=False))
        desk.until(call.done, "the answer")
        assert call.result().success
        desk.until(lambda: desk.step() or not desk.actions[-1].authority, "the authority given back, by service")
        assert not desk.actions[-1].intervention
    finally:
        code, log = desk.close()
    assert code == 0 and "Traceback" not in log


def test_a_pose_in_a_frame_that_is_not_the_base_moves_nothing_and_is_said():
    desk = Desk()
    desk.pose_frame = "world"
    try:
        desk.until(lambda: desk.poses.get_subscription_count() == desk.twists.get_subscription_count() == 1, "teleoperation's subscriptions")
        desk.until(lambda: desk.actions or desk.step(), "the first message")
        desk.buttons, desk.twist = [1, 0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
        desk.run(300)
        assert {action.horizon for action in desk.actions} == {0}
    finally:
        code, log = desk.close()
    assert code == 0 and "the measured pose is ignored: it is in frame 'world', not in 'fr3_link0' or 'base' (parameter pose_frames)" in log


def test_an_unknown_device_is_refused_by_name():
    environment = {**os.environ, "ROS_DOMAIN_ID": str(own_domain())}
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "--ros-args", "-p", "device:=mouse"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "device: 'mouse' is not one of" in done.stderr and "'hidraw'" in done.stderr


def test_the_keyboard_of_a_terminal_drives():
    ours, theirs = os.openpty()
    desk = Desk("device:=keyboard", f"keyboard_tty:={os.ttyname(theirs)}")

    def typing(keys):
        os.write(ours, keys)
        desk.run(20)

    try:
        desk.until(lambda: desk.poses.get_subscription_count() == 1, "teleoperation's subscriptions")
        desk.until(lambda: desk.actions or desk.step(), "the first message")
        typing(b"w")
        desk.run(300)
        assert not desk.actions[-1].deadman, "a key moved the arm without the deadman"
        typing(b" 9")
        desk.until(lambda: typing(b"w") or (desk.actions[-1].horizon and desk.actions[-1].actions[0] > HERE[0] + 0.03), "driving forward")
        typing(b"x")
        desk.until(lambda: desk.step() or not desk.actions[-1].deadman, "the stop")
    finally:
        code, log = desk.close()
        os.close(ours)
        os.close(theirs)
    assert code == 0 and "Traceback" not in log
    assert "the keyboard of /dev/pts/" in log and "space deadman on and off" in log
