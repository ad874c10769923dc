"""The hand's node over real DDS, with a hand of the test's own."""

import time

import pytest
import rclpy
from cdp_msgs.msg import GripperCommand
from cdp_ros.domain import own_domain
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from cdp.config import ConfigError
from cdp_franka_driver import hand_node
from cdp_franka_driver.hand import Answer, HandError, HandState, Status

DEADLINE_S = 20.0


class FakeHand:
    """Does at once what it is asked."""

    made: list = []

    def __init__(self, robot_ip):
        self.width, self.asked, self.ended, self.broken, self.closed = 0.08, [], [], False, False
        FakeHand.made.append(self)

    def _goal(self, *asked):
        self.asked.append(asked)
        self.ended.append(Answer(len(self.asked), Status.SUCCESS))
        return len(self.asked)

    def homing(self):
        return self._goal("homing")

    def move(self, width_m, speed_m_s):
        self.width = width_m
        return self._goal("move", width_m)

    def grasp(self, width_m, speed_m_s, force_n, inner_m, outer_m):
        self.width = width_m
        return self._goal("grasp", width_m, force_n)

    def stop(self):
        return self._goal("stop")

    def answers(self):
        if self.broken:
            raise HandError("gone")
        ended, self.ended = self.ended, []
        return ended

    def state(self):
        return HandState(self.width, 0.08, False)

    def close(self):
        self.closed = True


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain()))
    monkeypatch.setattr(hand_node, "Hand", FakeHand)
    monkeypatch.setattr(FakeHand, "made", [])
    rclpy.init(args=["--ros-args", "-p", "robot_ip:=fake"])
    nodes = hand_node.HandNode(), rclpy.create_node("bench")
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)

    def until(condition):
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end
            executor.spin_once(timeout_sec=0.02)

    yield nodes[1], until
    executor.shutdown()
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown()


def test_widths_become_goals_and_the_way_is_told_and_a_lost_hand_is_found_again(bench):
    node, until = bench
    widths = []
    node.create_subscription(JointState, "/franka_gripper/joint_states", lambda m: widths.append(sum(m.position)), 10)
    command = node.create_publisher(GripperCommand, "/cdp/gripper_command", 1)
    until(lambda: widths and command.get_subscription_count())
    assert widths[-1] == pytest.approx(0.08)
    command.publish(GripperCommand(width_m=0.02, max_effort_n=30.0))
    until(lambda: ("grasp", 0.02, 30.0) in FakeHand.made[0].asked and widths[-1] == pytest.approx(0.02))
    command.publish(GripperCommand(width_m=0.06, max_effort_n=30.0))
    until(lambda: ("move", 0.06) in FakeHand.made[0].asked)
    for name, asked in (("home", ("homing",)), ("stop", ("stop",))):
        client = node.create_client(Trigger, f"/cdp/gripper/{name}")
        until(client.service_is_ready)
        future = client.call_async(Trigger.Request())
        until(future.done)
        assert future.result().success
        until(lambda: asked in FakeHand.made[0].asked)  # noqa: B023
    FakeHand.made[0].broken = True
    until(lambda: len(FakeHand.made) == 2)
    assert FakeHand.made[0].closed
    command.publish(GripperCommand(width_m=0.03, max_effort_n=30.0))
    until(lambda: ("grasp", 0.03, 30.0) in FakeHand.made[1].asked)


class HandThatForgets(FakeHand):
    """Answers a stop, and not the goal that is stopped."""

    def grasp(self, width_m, speed_m_s, force_n, inner_m, outer_m):
        self.asked.append(("grasp", width_m, force_n))
        return len(self.asked)


def test_a_goal_ends_with_the_stop_even_where_the_hand_says_no_more_of_it(bench, monkeypatch):
    monkeypatch.setattr(hand_node, "Hand", HandThatForgets)
    node, until = bench
    command, stop = node.create_publisher(GripperCommand, "/cdp/gripper_command", 1), node.create_client(Trigger, "/cdp/gripper/stop")
    until(lambda: FakeHand.made and command.get_subscription_count() and stop.service_is_ready())
    command.publish(GripperCommand(width_m=0.02, max_effort_n=30.0))
    until(lambda: ("grasp", 0.02, 30.0) in FakeHand.made[0].asked)
    future = stop.call_async(Trigger.Request())
    until(future.done)
    command.publish(GripperCommand(width_m=0.05, max_effort_n=30.0))
    until(lambda: ("grasp", 0.05, 30.0) in FakeHand.made[0].asked)


def test_a_goal_that_was_lost_with_the_hand_is_sent_to_the_next(bench, monkeypatch):
    monkeypatch.setattr(hand_node, "Hand", HandThatForgets)
    node, until = bench
    command = node.create_publisher(GripperCommand, "/cdp/gripper_command", 1)
    until(lambda: FakeHand.made and command.get_subscription_count())
    command.publish(GripperCommand(width_m=0.02, max_effort_n=30.0))
    until(lambda: ("grasp", 0.02, 30.0) in FakeHand.made[0].asked)
    FakeHand.made[0].broken = True
    until(lambda: len(FakeHand.made) == 2 and ("grasp", 0.02, 30.0) in FakeHand.made[1].asked)


def test_without_an_address_the_node_does_not_start():
    rclpy.init(args=[])
    try:
        with pytest.raises(ConfigError, match="robot_ip"):
            hand_node.HandNode()
    finally:
        rclpy.shutdown()
