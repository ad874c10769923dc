"""The policy node as a process of its own, over real DDS, in front of a robot that moves nothing but its stamps."""

import signal

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from cdp_msgs.msg import ActionChunk, PolicyStatus  # noqa: E402
from cdp_ros.domain import own_domain  # noqa: E402
from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from fake_robot import Robot, end, ns, start  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from rcl_interfaces.srv import DescribeParameters  # noqa: E402
from rclpy.qos import ReliabilityPolicy  # noqa: E402

PERIOD_NS = 100_000_000
SLOW_S = 0.2
#: The node with networks that take their time, and let other threads have the processor meanwhile, as real ones do.
SLOW_MAIN = f"""
import sys, time
from cdp.runtime import PolicyRuntime
own = PolicyRuntime._sample
PolicyRuntime._sample = lambda self, *given, **more: (time.sleep({SLOW_S}), own(self, *given, **more))[1]
from cdp_policy_node.policy_node import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def domain():
    return own_domain()


@pytest.fixture(scope="module")
def robot(domain):
    robot = Robot(domain)
    yield robot
    robot.close()


@pytest.fixture(scope="module")
def node(domain, robot, tiny_bundle):
    process = start(domain, bundle=tiny_bundle, task="lift", backend="onnxruntime", reliable="true")
    robot.process = process
    yield process
    robot.process = None
    code, log = end(process, signal.SIGINT)
    assert code == 0 and "Traceback" not in log, log


@pytest.fixture
def active(node, robot, tiny_bundle):
    """The node, active and running."""
    robot.set(task="slide", bundle=str(tiny_bundle))
    assert robot.change(Transition.TRANSITION_CONFIGURE)
    robot.statuses.clear()
    assert robot.change(Transition.TRANSITION_ACTIVATE)
    robot.until(lambda: robot.statuses and robot.statuses[-1].state == PolicyStatus.STATE_RUNNING, "running")
    yield node
    robot.camera_alive, robot.pose_frame = True, "base"
    assert robot.change(Transition.TRANSITION_DEACTIVATE)
    assert robot.change(Transition.TRANSITION_CLEANUP)


def test_another_task_or_no_bundle_fails_the_transition_and_says_why(node, robot, tiny_bundle):
    assert not robot.change(Transition.TRANSITION_CONFIGURE)
    assert robot.lifecycle_state() == "unconfigured"
    robot.until(lambda: any("'slide', not 'lift'" in s.message for s in robot.statuses), "the refused task")
    assert robot.statuses[-1].state == PolicyStatus.STATE_UNCONFIGURED
    robot.set(bundle="nowhere", task="slide")
    assert not robot.change(Transition.TRANSITION_CONFIGURE)
    robot.until(lambda: any("no policy bundle 'nowhere'" in s.message for s in robot.statuses), "the missing bundle")
    robot.set(bundle=str(tiny_bundle), replan_ticks=16)
    assert not robot.change(Transition.TRANSITION_CONFIGURE)
    robot.until(lambda: any("replan_ticks: 16" in s.message for s in robot.statuses), "the refused period")
    assert robot.set(replan_ticks=4).successful


def test_parameters_are_described_and_keep_their_range(node, robot):
    described = robot.call(DescribeParameters, "describe_parameters", names=["steps", "image_timeout_s", "backend"]).descriptors
    assert all(d.description for d in described)
    assert described[0].integer_range[0].to_value == 100 and described[1].floating_point_range[0].to_value == 10.0
    assert not robot.set(steps=101).successful
    assert not robot.set(image_timeout_s=60.0).successful


def test_each_stream_is_heard_with_the_quality_of_service_that_is_asked_for(node, robot, tiny_bundle):
    def heard(topic):
        infos = robot.node.get_subscriptions_info_by_topic(topic)
        return next((info.qos_profile.reliability for info in infos if info.node_name == "cdp_policy"), None)

    robot.set(task="slide", bundle=str(tiny_bundle), image_reliability="perhaps")
    assert not robot.change(Transition.TRANSITION_CONFIGURE)
    robot.until(lambda: any("image_reliability: 'perhaps'" in s.message for s in robot.statuses), "the refused word")
    robot.set(image_reliability="best_effort", pose_reliability="reliable", gripper_reliability="auto")
    assert robot.change(Transition.TRANSITION_CONFIGURE)
    fingers, pose, image = "/franka_gripper/joint_states", "/franka_robot_state_broadcaster/current_pose", "/agentview/image_raw"
    robot.until(lambda: all(heard(topic) is not None for topic in (fingers, pose, image)), "the node's subscriptions")
    assert heard(image) == ReliabilityPolicy.BEST_EFFORT
    assert heard(pose) == heard(fingers) == ReliabilityPolicy.RELIABLE  # auto: the node was started with reliable
    assert robot.change(Transition.TRANSITION_CLEANUP)
    assert robot.set(image_reliability="auto", pose_reliability="auto").successful


def test_every_image_is_answered_by_a_chunk_or_a_keep_alive(active, robot):
    # The stamps stay: the first answer may be to a picture that was on its way before the answers were cleared.
    robot.answers.clear()
    robot.until(lambda: sum(a.horizon > 0 for a in robot.answers) >= 4, "four chunks")
    answered = [ns(a.observation_stamp) for a in robot.answers]
    asked = [s for s in robot.image_stamps if answered[0] <= s <= answered[-1]]
    # In order; a keep-alive comes again with an image for which the chunk of an earlier one took longer than a frame.
    assert answered == sorted(answered) and sorted(set(answered)) == asked
    assert np.all(np.diff([a.sequence for a in robot.answers]) == 1)
    chunks = [a for a in robot.answers if a.horizon > 0]
    for chunk in chunks:
        rows = np.array(chunk.actions).reshape(chunk.horizon, chunk.width)
        assert rows.shape == (16, 10) and np.all(np.isfinite(rows)) and np.all((rows[:, 9] >= 0) & (rows[:, 9] <= np.float32(0.08)))
        assert chunk.space == ActionChunk.SPACE_EEF_POSE and chunk.header.frame_id == "fr3_link0"
        assert chunk.source == ActionChunk.SOURCE_POLICY and chunk.deadman
        assert chunk.dt_s == 0.1 and ns(chunk.start_stamp) == ns(chunk.observation_stamp) + PERIOD_NS
        assert ns(chunk.header.stamp) >= ns(chunk.observation_stamp)
        assert 0 < chunk.next_within_s < 1 / 30
    # Four ticks of three frames; a tick waits for the next frame, however late a loaded machine takes it.
    spacing = np.diff([ns(c.observation_stamp) for c in chunks]) / 1e9
    longest_gap = np.diff(asked).max() / 1e9
    np.testing.assert_allclose(spacing, 0.4, atol=0.05 + longest_gap)
    keep_alives = [a for a in robot.answers if a.horizon == 0]
    assert {ns(a.observation_stamp) for a in keep_alives} == set(asked) - {ns(c.observation_stamp) for c in chunks}
    assert all(len(a.actions) == 0 for a in keep_alives)
    status = next(s for s in reversed(robot.statuses) if s.chunks)
    assert status.bundle == "tiny" and status.inference_ms > 0 and 0 < status.observation_to_action_ms < 1000


def test_a_dead_camera_stops_the_actions_until_it_comes_back(active, robot):
    robot.camera_alive = False
    robot.until(lambda: robot.statuses[-1].state == PolicyStatus.STATE_WAITING, "waiting")
    assert "/agentview/image_raw" in robot.statuses[-1].message
    robot.answers.clear()
    robot.spin(0.3)
    assert robot.answers == []
    robot.camera_alive = True
    robot.until(lambda: robot.answers, "an answer after the camera came back")
    assert robot.answers[0].horizon == 16
    robot.until(lambda: robot.statuses[-1].state == PolicyStatus.STATE_RUNNING, "running again")


def test_a_pose_in_a_frame_that_is_not_the_base_counts_as_none(active, robot):
    robot.pose_frame = "world"
    robot.until(lambda: robot.statuses[-1].state == PolicyStatus.STATE_WAITING, "the policy without a pose")
    assert "/franka_robot_state_broadcaster/current_pose" in robot.statuses[-1].message
    robot.pose_frame = "base"
    robot.until(lambda: robot.statuses[-1].state == PolicyStatus.STATE_RUNNING, "running again")


def test_deactivated_means_silent_and_activated_again_means_a_fresh_chunk(active, robot):
    assert robot.change(Transition.TRANSITION_DEACTIVATE)
    robot.until(lambda: robot.statuses[-1].state == PolicyStatus.STATE_READY, "ready")
    robot.answers.clear()
    robot.spin(0.3)
    assert robot.answers == []
    assert robot.change(Transition.TRANSITION_ACTIVATE)
    robot.until(lambda: robot.answers, "an answer")
    assert robot.answers[0].horizon == 16


def test_diagnostics_tell_the_state_and_the_latencies(active, robot):
    robot.until(lambda: robot.statuses[-1].chunks > 2, "three chunks")
    robot.diagnostics.clear()
    # On a loaded machine the robot of this test may itself fall silent for a moment, and the node rightly warns.
    robot.until(lambda: any(d.status[0].level == DiagnosticStatus.OK for d in robot.diagnostics), "diagnostics of a running policy")
    status = next(d.status[0] for d in robot.diagnostics if d.status[0].level == DiagnosticStatus.OK)
    values = {v.key: v.value for v in status.values}
    assert status.name == "cdp_policy: policy" and status.hardware_id == "tiny"
    assert int(values["chunks"]) >= 2 and 0 < float(values["inference_ms_p50"]) <= float(values["inference_ms_p99"])


def test_the_sampler_and_the_join_change_while_it_runs_and_the_rest_does_not(active, robot):
    usual = {"steps": 0, "solver": "", "temperature": 1.0, "join": "hard", "initial_noise": "random"}
    try:
        assert robot.set(steps=5, solver="dpmpp_2m", temperature=0.5, join="rtc", initial_noise="warm").successful
        robot.until(lambda: robot.statuses[-1].join == "rtc", "the new join in the status")
        robot.answers.clear()
        robot.until(lambda: sum(a.horizon > 0 for a in robot.answers) >= 2, "chunks with the new settings")
        for change in ({"threads": 2}, {"bundle": "nowhere"}, {"steps": 3, "backend": "openvino"}, {"monitor_hold": True}):
            refused = robot.set(**change)
            assert not refused.successful and "deactivate first" in refused.reason, refused
        assert not robot.set(join="soft").successful and not robot.set(temperature=3.0).successful
        assert robot.statuses[-1].state == PolicyStatus.STATE_RUNNING and robot.statuses[-1].engine == "onnxruntime cpu fp32"
    finally:
        assert robot.set(**usual).successful
    robot.until(lambda: robot.statuses[-1].join == "hard", "the old join in the status")


@pytest.fixture
def slow(robot, tiny_bundle):
    """A node whose chunks take SLOW_S, on a domain with nobody else."""
    domain = own_domain()
    alone = Robot(domain)
    alone.process = process = start(domain, SLOW_MAIN, bundle=tiny_bundle, backend="onnxruntime", reliable="true")
    yield alone
    alone.process = None
    code, log = end(process, signal.SIGINT)
    alone.close()
    assert code == 0 and "Traceback" not in log, log


def test_images_are_answered_while_a_chunk_is_computed_and_nothing_comes_after_the_end(slow):
    assert slow.change(Transition.TRANSITION_CONFIGURE) and slow.change(Transition.TRANSITION_ACTIVATE)
    slow.until(lambda: sum(a.horizon > 0 for a in slow.answers) >= 5, "five chunks")
    answers = [a for a in slow.answers if ns(a.observation_stamp) >= next(ns(c.observation_stamp) for c in slow.answers if c.horizon > 0)]
    stamps = [ns(a.observation_stamp) for a in answers]
    assert stamps == sorted(stamps), "the guard refuses what answers an older observation"
    assert np.all(np.diff([a.sequence for a in answers]) == 1)
    asked = [s for s in slow.image_stamps if stamps[0] <= s <= stamps[-1]]
    assert sorted(set(stamps)) == asked, "every image is answered in the end"
    chunks = [a for a in answers if a.horizon > 0]
    for chunk in chunks[1:]:
        computed = [a for a in answers if ns(chunk.observation_stamp) <= ns(a.header.stamp) < ns(chunk.header.stamp) and a.horizon == 0]
        # Six images come in the time of a chunk. Were the callbacks blocked, none would be answered before it is there.
        assert len(computed) >= 2, f"{len(computed)} answers while the chunk of {chunk.observation_stamp} was computed"
        late_ns = ns(chunk.header.stamp) - ns(chunk.observation_stamp)
        assert late_ns >= SLOW_S * 1e9
        # Rows for times that are past are not sent, and those that are keep their times.
        assert ns(chunk.start_stamp) + PERIOD_NS > ns(chunk.header.stamp) - PERIOD_NS
        assert (ns(chunk.start_stamp) - ns(chunk.observation_stamp)) % PERIOD_NS == 0
        assert chunk.horizon == 16 - (ns(chunk.start_stamp) - ns(chunk.observation_stamp) - PERIOD_NS) // PERIOD_NS < 16
    status = next(s for s in reversed(slow.statuses) if s.chunks)
    assert status.delay_ms >= 1e3 * SLOW_S and status.join == "hard"
    # Somewhere in the middle of a chunk.
    seen = len([a for a in slow.answers if a.horizon > 0])
    slow.until(lambda: len([a for a in slow.answers if a.horizon > 0]) > seen, "another chunk")
    assert slow.change(Transition.TRANSITION_DEACTIVATE)
    silent_ns = slow.node.get_clock().now().nanoseconds
    slow.until(lambda: slow.statuses[-1].state == PolicyStatus.STATE_READY, "ready")
    slow.spin(2 * SLOW_S)
    # What was published before may still be on its way.
    assert [a for a in slow.answers if ns(a.header.stamp) > silent_ns] == []
    slow.answers.clear()
    assert slow.change(Transition.TRANSITION_ACTIVATE)
    slow.until(lambda: slow.answers, "an answer")
    assert slow.change(Transition.TRANSITION_DEACTIVATE) and slow.change(Transition.TRANSITION_CLEANUP)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_active_node_cleanly(domain, robot, tiny_bundle, signal_number):
    # What the node before said may still be on its way.
    began_ns = robot.node.get_clock().now().nanoseconds
    process = start(domain, bundle=tiny_bundle, backend="onnxruntime", autostart="true", reliable="true")
    try:
        robot.until(
            lambda: any(s.state == PolicyStatus.STATE_RUNNING and ns(s.header.stamp) > began_ns for s in robot.statuses), "the autostarted node"
        )
    finally:
        code, log = end(process, signal_number)
    assert code == 0 and "Traceback" not in log, log


def test_a_parameter_out_of_range_is_said_and_ends_the_start(domain):
    process = start(domain, steps=1000)
    code, log = process.wait(timeout=30), process.stderr.read()
    process.stderr.close()
    assert code == 2 and "steps" in log and "Traceback" not in log


#: The node with a monitor that finds a white picture strange, whatever the bundle is.
STRANGE_MAIN = """
import sys
from cdp.runtime.monitor import Figures, MonitorReading
from cdp.runtime.monitor_figures import ActionSpreadSI
from cdp_policy_node import policy_monitor
class Reader:
    def read(self, window):
        share = 5.0 if window["image"].mean() > 250 else 0.2
        return MonitorReading(Figures(0.1, ActionSpreadSI(0.002, 0.01, 0.0), 0.03, 0.4, 9.0), {"distance": share}, 0.5, 1.0)
policy_monitor.open_monitor = lambda bundle, config, parameters: (policy_monitor.PolicyMonitor(Reader, parameters), "a fake monitor")
from cdp_policy_node.policy_node import main
sys.exit(main())
"""


def test_a_strange_picture_holds_the_policy_and_a_familiar_one_lets_it_go_on(tiny_bundle):
    alone = Robot(domain := own_domain())
    usual = alone.pixels
    settings = {"monitor_hold": "true", "monitor_rate_hz": "10.0", "monitor_after": 2, "autostart": "true"}
    alone.process = process = start(domain, STRANGE_MAIN, bundle=tiny_bundle, backend="onnxruntime", reliable="true", **settings)
    try:
        alone.until(lambda: alone.statuses and alone.statuses[-1].monitor_stamp.sec > 0, "a reading in the status")
        status = alone.statuses[-1]
        assert (status.spread, status.spread_position_m, status.lipschitz, status.ood_share, status.uncertain) == (0.1, 0.002, 0.03, 0.2, False)
        alone.pixels = b"\xff" * len(usual)
        alone.until(lambda: alone.statuses[-1].uncertain and alone.statuses[-1].state == PolicyStatus.STATE_WAITING, "the hold")
        assert "unlike the training data" in alone.statuses[-1].message and alone.statuses[-1].ood_share == 5.0
        alone.answers.clear()
        alone.diagnostics.clear()
        alone.until(lambda: alone.diagnostics, "diagnostics")
        values = {v.key: v.value for v in alone.diagnostics[-1].status[0].values}
        assert values["monitor_share_distance"] == "5" and "unlike" in values["monitor"]
        assert alone.answers == []
        alone.pixels = usual
        alone.until(lambda: alone.answers, "an answer after the familiar picture came back")
        assert alone.answers[0].horizon > 0
        alone.until(lambda: alone.statuses[-1].state == PolicyStatus.STATE_RUNNING and not alone.statuses[-1].uncertain, "running again")
    finally:
        alone.process = None
        code, log = end(process, signal.SIGINT)
        alone.close()
    assert code == 0 and "Traceback" not in log, log
