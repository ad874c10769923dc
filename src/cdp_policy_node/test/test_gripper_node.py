"""The gripper node as a process of its own, against a hand that does not queue goals, over real DDS."""

import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from cdp_ros.call import Call
from gripper_hand import Hand
from std_srvs.srv import Trigger

MAIN = "import sys; from cdp_policy_node.gripper_node import main; sys.exit(main())"


class Bench(Hand):
    def __init__(self, environment, *parameters):
        super().__init__()
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed in end()
        environment = {**environment, "ROS_DOMAIN_ID": str(self.domain), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", MAIN, "--ros-args", *(part for p in parameters for part in ("-p", p))]
        self.process = subprocess.Popen(command, env=environment, stderr=self.log, stdout=subprocess.DEVNULL)

    def said(self, words):
        self.log.seek(0)
        return self.log.read().count(words)

    def until(self, condition, what, each=lambda: None):
        def also():
            assert self.process.poll() is None, f"the node ended with {self.process.returncode}"
            each()

        super().until(condition, what, also)

    def call(self, name):
        client = self.node.create_client(Trigger, name)
        self.until(client.service_is_ready, name)
        call = Call(client, Trigger.Request())
        self.until(call.done, name)
        return call.result()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(timeout=20) == 0
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.log.close()
            self.close()

    def wait_for_goal(self, width_m):
        """Streams the target, as the guard does, until it has become a goal."""
        self.until(lambda: self.under_way and abs(self.under_way[-1][1].width - width_m) < 1e-6, f"a goal to {width_m}", lambda: self.say(width_m))
        return self.under_way[-1]

    def wait_idle(self, width_m):
        """Streams a target that is reached already, for as long as another goal would take to come."""
        begin, count = time.monotonic(), len(self.received)
        self.until(lambda: time.monotonic() > begin + 0.7, "a while", lambda: self.say(width_m))
        assert len(self.received) == count


@pytest.fixture
def bench(robot_environment):
    made = Bench(robot_environment, "settle_s:=0.05")
    yield made
    made.end()


def test_a_streamed_target_becomes_separate_goals_with_the_whole_width(bench):
    bench.until(lambda: bench.said("start franka_gripper") == 1, "the missing hand is asked for")
    bench.appear()
    name, goal, _ = bench.wait_for_goal(0.02)
    assert (name, goal.width, goal.force) == ("grasp", 0.02, 30.0)
    assert goal.epsilon.outer == goal.epsilon.inner == 0.08
    # A slow hand: the target goes on, and nothing is sent beside the goal under way.
    bench.wait_idle(0.001)
    bench.finish()
    bench.wait_for_goal(0.001)
    bench.finish()
    bench.wait_idle(0.002)
    name, goal, _ = bench.wait_for_goal(0.06)
    assert (name, goal.width) == ("move", 0.06), "half of the width would be 0.03"
    bench.wait_for_goal(0.0)
    assert bench.cancels == 1, "the target had turned back"
    bench.finish()
    bench.wait_idle(0.0)
    assert bench.overlaps == 0
    assert {name for name, _ in bench.received} == {"grasp", "move"}
    assert bench.said("failed: ") == 0


def test_a_failed_goal_is_said_once_and_homing_and_stop_are_done_on_request(bench):
    bench.appear()
    bench.wait_for_goal(0.02)
    bench.finish(False)
    bench.wait_idle(0.02)
    assert bench.said("failed: libfranka gripper: command failed") == 1
    assert bench.said("/cdp/gripper/home") == 1

    assert bench.call("/cdp/gripper/home").success
    bench.until(lambda: bench.under_way and bench.under_way[0][0] == "homing", "homing")
    bench.finish()
    bench.wait_for_goal(0.02)
    assert bench.call("/cdp/gripper/stop").success
    bench.until(lambda: bench.stops == 1, "the stop")
    bench.wait_idle(0.02)
    assert bench.said("failed: ") == 1, "a goal that was stopped is no failure"
    bench.wait_for_goal(0.05)
    bench.vanish()
    bench.until(lambda: bench.said("start franka_gripper") >= 1, "the loss is said")
    bench.under_way.clear()
    bench.appear()
    bench.wait_for_goal(0.05)
    bench.finish()
    bench.wait_for_goal(0.0)
    bench.finish()
    assert bench.overlaps == 0
    assert [name for name, _ in bench.received].count("homing") == 1


def test_without_franka_msgs_it_says_so_in_one_line():
    code = "import sys; sys.modules['franka_msgs'] = None; " + MAIN
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "ROS_DOMAIN_ID": "1"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "franka_msgs is not installed" in done.stderr and "franka_ros2" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
