"""The simulator as a process of its own, over real DDS, with a guard made of plain publishers."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rclpy
from cdp_msgs.msg import GuardStatus, LockstepTick, TaskState
from cdp_msgs.srv import ResetScene
from cdp_ros.domain import own_domain
from cdp_ros.stamps import ns_to_stamp, stamp_to_ns
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState

DEADLINE_S = 40.0
TICK_NS = 10_000_000
MAIN = "import sys; from cdp_franka_sim.sim_node import main; sys.exit(main())"


class Bench:
    """The guard's side of the simulator, in this process. ``answering``: each tick is answered, with a command while ``target`` is set."""

    def __init__(self, *parameters):
        domain = own_domain()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("bench", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.ticks, self.clocks, self.joints, self.poses, self.images, self.infos, self.tasks = ([] for _ in range(7))
        self.answering, self.target = True, None
        self.state = GuardStatus.STATE_HOLDING
        best_effort = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
        for kind, topic, store, qos in (
            (Clock, "/clock", self.clocks, 100),
            (JointState, "/joint_states", self.joints, 100),
            (PoseStamped, "/franka_robot_state_broadcaster/current_pose", self.poses, best_effort),
            (Image, "/agentview/image_raw", self.images, 30),
            (CameraInfo, "/agentview/camera_info", self.infos, 30),
            (TaskState, "/cdp_sim/task", self.tasks, 30),
        ):
            self.node.create_subscription(kind, topic, store.append, qos)
        self.node.create_subscription(LockstepTick, "/cdp_sim/tick", self.on_tick, 10)
        self.commands = self.node.create_publisher(PoseStamped, "/cartesian_impedance_example_controller/equilibrium_pose", 10)
        self.status = self.node.create_publisher(GuardStatus, "/cdp/guard/status", 10)
        self.reset_client = self.node.create_client(ResetScene, "/cdp_sim/reset")
        self.command_ns = 0
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", MAIN, "--ros-args", *(part for p in parameters for part in ("-p", p))]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    def on_tick(self, tick):
        self.ticks.append(tick)
        if self.answering:
            self.answer(stamp_to_ns(tick.stamp))

    def answer(self, now_ns):
        if self.target is not None:
            self.command(now_ns)
        status = GuardStatus(state=self.state)
        status.header.stamp, status.command_stamp = ns_to_stamp(now_ns), ns_to_stamp(self.command_ns)
        self.status.publish(status)

    def command(self, now_ns):
        pose = PoseStamped()
        pose.header.frame_id, pose.header.stamp = "fr3_link0", ns_to_stamp(now_ns)
        pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = self.target
        pose.pose.orientation.x, pose.pose.orientation.w = 1.0, 0.0
        self.commands.publish(pose)
        self.command_ns = now_ns

    def wait(self, condition, what, deadline_s=DEADLINE_S):
        end = time.monotonic() + deadline_s
        while not condition():
            assert self.process.poll() is None, f"the simulator ended with {self.process.returncode}: {self.process.stderr.read()}"
            assert time.monotonic() < end, f"no {what} within {deadline_s} s"
            self.executor.spin_once(timeout_sec=0.05)

    def reset(self, seed, hold=False):
        future = self.reset_client.call_async(ResetScene.Request(seed=seed, hold=hold))
        self.wait(future.done, "answer to a reset")
        return future.result()

    def end(self, number, within_s=5.0):
        """Exit status after the signal."""
        self.process.send_signal(number)
        return self.process.wait(within_s)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def start():
    benches = []

    def make(*parameters):
        benches.append(Bench(*parameters))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


def _stamps(messages):
    return [stamp_to_ns(m.header.stamp) for m in messages]


def test_lockstep_steps_only_when_the_guard_has_answered(start):
    bench = start("lockstep:=true", "lockstep_timeout_s:=60.0", "seed:=3")
    bench.answering = False
    bench.wait(lambda: bench.node.count_subscribers("/cdp/guard/status"), "simulator")
    # A tick from before discovery may be lost, and the wait is long: answer the instant that the simulator is at.
    bench.wait(lambda: bench.node.count_publishers("/cdp_sim/tick"), "tick publisher")
    bench.answering, bench.target = True, [0.45, 0.1, 0.3]
    bench.command_ns = 0
    first_ns = 1_000_000_000

    def ticking():
        if not bench.ticks:
            bench.answer(first_ns)
        return len(bench.ticks) > 150

    bench.wait(ticking, "151 ticks")
    ticks = [stamp_to_ns(t.stamp) for t in bench.ticks]
    assert np.all(np.diff(ticks) == TICK_NS)
    assert np.all(np.diff([t.index for t in bench.ticks]) == 1)
    now_ns = ticks[-1]
    bench.wait(lambda: bench.joints and _stamps(bench.joints)[-1] >= now_ns and _stamps(bench.poses)[-1] >= now_ns, "states of the tick")
    assert np.all(np.diff(_stamps(bench.joints)) == TICK_NS)
    assert np.all(np.diff(_stamps(bench.poses)) == TICK_NS)
    assert np.all(np.diff([stamp_to_ns(c.clock) for c in bench.clocks]) == TICK_NS)
    images = _stamps(bench.images)
    assert set(np.diff(images)) <= {30_000_000, 40_000_000}
    assert len(images) == pytest.approx(30 * (images[-1] - images[0]) / 1e9 + 1, abs=1.1)
    assert set(_stamps(bench.tasks)) == set(images) == set(_stamps(bench.infos))
    assert stamp_to_ns(bench.ticks[-1].observation_stamp) == images[-1]
    # The commands have moved the arm.
    p = bench.poses[-1].pose.position
    np.testing.assert_allclose([p.x, p.y, p.z], bench.target, atol=0.01)

    bench.answering = False
    bench.wait(lambda: stamp_to_ns(bench.ticks[-1].stamp) == stamp_to_ns(bench.clocks[-1].clock), "last tick")
    count, end = len(bench.ticks), time.monotonic() + 0.5
    while time.monotonic() < end:
        bench.executor.spin_once(timeout_sec=0.05)
    assert len(bench.ticks) <= count + 1  # the one that was on its way
    assert bench.end(signal.SIGTERM) == 0  # in the middle of a wait of a minute


def test_lockstep_goes_on_without_a_guard_and_resets_while_it_waits(start):
    bench = start("lockstep:=true", "lockstep_timeout_s:=0.1")
    bench.answering = False
    bench.wait(lambda: len(bench.ticks) > 5 and bench.tasks, "ticks")
    done = bench.reset(11)
    assert done.success, done.message
    bench.wait(lambda: bench.tasks[-1].episode == 1, "the new episode")
    first_ns = stamp_to_ns(done.stamp)
    assert all(stamp_to_ns(t.header.stamp) < first_ns for t in bench.tasks if t.episode == 0)
    assert bench.tasks[-1].seed == 11 and stamp_to_ns(bench.tasks[-1].header.stamp) >= first_ns
    assert np.all(np.diff([stamp_to_ns(t.stamp) for t in bench.ticks]) == TICK_NS)
    assert bench.end(signal.SIGINT) == 0


def test_a_reset_that_holds_stands_still_until_a_source_is_followed(start):
    """Catches an episode whose first moments depend on how fast nodes find each other."""
    bench = start("lockstep:=true", "lockstep_timeout_s:=0.1")
    bench.wait(lambda: len(bench.ticks) > 5 and bench.tasks, "ticks")
    bench.state = GuardStatus.STATE_REFUSING
    for seed in (11, 12):
        done = bench.reset(seed, hold=True)
        assert done.success, done.message
        first_ns = stamp_to_ns(done.stamp)
        bench.wait(
            lambda ns=first_ns: _stamps(bench.tasks)[-1] == ns and len([t for t in bench.ticks if stamp_to_ns(t.stamp) == ns]) > 5, "its instant"
        )
        assert bench.tasks[-1].seed == seed
        assert _stamps(bench.images)[-1] < first_ns, "a picture before anybody can act on it"
    bench.state = GuardStatus.STATE_HOLDING
    bench.wait(lambda: _stamps(bench.images)[-1] == first_ns, "the picture of the first instant")
    pictures, ticks = len(bench.images), len(bench.ticks)
    # A policy that is activated a moment after the picture came has not taken it.
    bench.wait(lambda: len(bench.images) >= pictures + 2, "the picture again, and again")
    assert len(bench.ticks) > ticks + 5
    assert {stamp_to_ns(t.stamp) for t in bench.ticks[ticks:]} == {first_ns} == set(_stamps(bench.images)[pictures - 1 :])
    bench.state = GuardStatus.STATE_POLICY
    bench.wait(lambda: _stamps(bench.images)[-1] > first_ns + 60_000_000, "time to go on")
    later = [ns - first_ns for ns in _stamps(bench.images) if ns >= first_ns]
    assert sorted(set(later))[:3] == [0, 40_000_000, 70_000_000]
    assert bench.end(signal.SIGTERM) == 0


def test_a_hold_that_nobody_ends_ends_by_itself_and_is_refused_in_real_time(start):
    bench = start("lockstep:=true", "hold_timeout_s:=0.3")
    bench.wait(lambda: len(bench.ticks) > 5, "ticks")
    bench.state = GuardStatus.STATE_REFUSING
    first_ns = stamp_to_ns(bench.reset(11, hold=True).stamp)
    bench.wait(lambda: bench.images and _stamps(bench.images)[-1] > first_ns, "time to go on")
    assert first_ns in _stamps(bench.images)
    assert bench.end(signal.SIGTERM) == 0
    assert "can not be repeated exactly" in bench.process.stderr.read()
    real = start()
    real.wait(lambda: real.images, "sensors")
    answer = real.reset(11, hold=True)
    assert not answer.success and "lock-step" in answer.message


def test_real_time_sensors_keep_their_rates_and_a_reset_waits_for_the_guard(start):
    bench = start("seed:=3")
    bench.wait(lambda: bench.images and bench.joints and bench.infos, "sensors")
    for store in (bench.images, bench.joints, bench.poses, bench.infos, bench.tasks):
        store.clear()
    bench.wait(lambda: len(bench.images) > 20 and len(bench.joints) > 150, "two thirds of a second of images, more of a busy machine")
    joints, images = _stamps(bench.joints), _stamps(bench.images)
    assert np.all(np.diff(joints) > 0) and np.median(np.diff(joints)) == TICK_NS
    assert np.all(np.diff(images) > 0)
    assert abs(joints[-1] - time.time_ns()) < 1_000_000_000
    image, info = bench.images[-1], bench.infos[-1]
    assert (image.encoding, image.width, image.height, image.step) == ("rgb8", 640, 480, 1920)
    assert image.header.frame_id == info.header.frame_id == "agentview_optical_frame"
    assert np.frombuffer(image.data, np.uint8).std() > 20
    assert info.k[0] == info.k[4] > 500 and (info.k[2], info.k[5]) == (319.5, 239.5)
    assert bench.joints[-1].name == [f"fr3_joint{i}" for i in range(1, 8)]

    p = bench.poses[-1].pose.position
    bench.target = [p.x, p.y, p.z + 0.02]
    bench.wait(lambda: bench.node.count_subscribers("/cartesian_impedance_example_controller/equilibrium_pose"), "command subscriber")

    def refused():
        bench.command(bench.node.get_clock().now().nanoseconds)
        answer = bench.reset(5)
        return not answer.success and "disengage the guard" in answer.message

    bench.wait(refused, "refusal while commands come")
    episodes = bench.tasks[-1].episode
    accepted = []

    def reset():
        accepted.append(bench.reset(6))
        return accepted[-1].success

    bench.wait(reset, "reset once commands have stopped")
    bench.wait(lambda: bench.tasks[-1].episode == episodes + 1, "the new episode")
    assert bench.tasks[-1].seed == 6
    assert np.all(np.diff(_stamps(bench.joints)) > 0)
    bad = bench.reset(-4)
    assert not bad.success and "nothing was reset" in bad.message
    assert bench.end(signal.SIGTERM) == 0


def test_the_stamps_of_a_simulator_that_was_held_up_do_not_lag_the_clock(start):
    bench, stops = start(), 5
    bench.wait(lambda: len(bench.joints) > 20, "states")
    # The newest stays: the first stall is the gap behind it.
    del bench.joints[:-1]
    for _ in range(stops):
        bench.process.send_signal(signal.SIGSTOP)
        time.sleep(0.08)  # the stall itself, not a wait for anything
        bench.process.send_signal(signal.SIGCONT)
        seen = len(bench.joints)
        bench.wait(lambda seen=seen: len(bench.joints) > seen + 10, "states after a stall")
    # Lost time is given up at once: a stall is one gap in the stamps, where a simulator that rushed after the clock would stamp its states late.
    assert np.count_nonzero(np.diff(_stamps(bench.joints)) >= 50_000_000) >= stops


@pytest.mark.parametrize(("parameter", "words"), [("task:=stack", "'stack' is not one of slide"), ("camera_rate_hz:=500.0", "camera_rate_hz")])
def test_a_bad_parameter_is_refused_by_name(start, parameter, words):
    bench = start(parameter)
    assert bench.process.wait(DEADLINE_S) == 2
    assert words in bench.process.stderr.read()
