"""The action /cdp/policy/run of the policy node as a process of its own, over real DDS."""

import math
import signal

import pytest

rclpy = pytest.importorskip("rclpy")

from action_msgs.msg import GoalStatus  # noqa: E402
from cdp_msgs.action import RunPolicy  # noqa: E402
from cdp_msgs.msg import GuardStatus, PolicyStatus, TaskState  # noqa: E402
from cdp_ros.call import Call  # noqa: E402
from cdp_ros.domain import own_domain  # noqa: E402
from fake_robot import Robot, end, start  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

Result = RunPolicy.Result


class Caller(Robot):
    """The robot of the policy node's tests, and a client of the action."""

    def __init__(self, domain):
        super().__init__(domain)
        self.client = ActionClient(self.node, RunPolicy, "/cdp/policy/run")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.guard = self.node.create_publisher(GuardStatus, "/cdp/guard/status", latched)
        self.task = self.node.create_publisher(TaskState, "/cdp_sim/task", 30)
        self.feedback = []

    def send(self, **goal):
        self.until(self.client.server_is_ready, "the action server")
        self.feedback.clear()
        sent = self.client.send_goal_async(RunPolicy.Goal(**goal), feedback_callback=lambda m: self.feedback.append(m.feedback))
        self.until(sent.done, "an answer to the goal")
        return sent.result(), sent.result().get_result_async()

    def result(self, future):
        self.until(future.done, "the result")
        return future.result().status, future.result().result

    def run(self, **goal):
        return self.result(self.send(**goal)[1])

    def running(self):
        self.until(lambda: self.feedback and self.feedback[-1].chunks > 0, "a chunk told in the feedback")

    def say(self, state, reason=0):
        message = GuardStatus(state=state, reason=reason, message="the guard's words")
        message.header.stamp = self.node.get_clock().now().to_msg()
        self.guard.publish(message)

    def succeed(self):
        client = self.node.create_client(Trigger, "/cdp/policy/succeed")
        self.until(client.service_is_ready, "succeed")
        call = Call(client, Trigger.Request())
        self.until(call.done, "succeed")
        self.node.destroy_client(client)
        return call.result().success


@pytest.fixture(scope="module")
def domain():
    return own_domain()


@pytest.fixture(scope="module")
def caller(domain):
    caller = Caller(domain)
    yield caller
    caller.close()


@pytest.fixture(scope="module")
def node(domain, caller, tiny_bundle):
    process = start(domain, bundle=tiny_bundle, backend="onnxruntime", reliable="true", run_lost_s=1.0)
    caller.process = process
    yield process
    caller.process = None
    code, log = end(process, signal.SIGINT)
    assert code == 0 and "Traceback" not in log, log


@pytest.fixture(scope="module")
def unconfigured(node, caller):
    return caller.run(task="slide")


@pytest.fixture
def ready(unconfigured, caller):
    if caller.lifecycle_state() == "unconfigured":
        assert caller.change(Transition.TRANSITION_CONFIGURE)
    assert caller.lifecycle_state() == "inactive", "the run before did not deactivate the policy"
    return caller


def test_what_cannot_run_is_refused_with_its_cause(unconfigured, ready):
    status, result = unconfigured
    assert status == GoalStatus.STATUS_ABORTED and result.reason == Result.REASON_REFUSED and "configure the node" in result.message
    assert "'slide', not 'lift'" in ready.run(task="lift")[1].message
    assert "timeout_s" in ready.run(timeout_s=math.nan)[1].message
    ready.change(Transition.TRANSITION_ACTIVATE)
    assert "active without a goal" in ready.run()[1].message
    ready.change(Transition.TRANSITION_DEACTIVATE)
    assert not ready.succeed(), "nothing was run by any of them"


def test_a_run_ends_by_the_signalled_success_and_is_told_on_the_way(ready):
    _, future = ready.send(task="slide", timeout_s=60.0, seed=3)
    ready.running()
    assert ready.succeed()
    status, result = ready.result(future)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.reason == Result.REASON_SUCCESS and result.bundle == "tiny"
    assert result.chunks > 0 and result.duration_s > 0
    last = ready.feedback[-1]
    assert last.inference_ms > 0 and last.observation_to_action_ms > 0 and last.policy_state == PolicyStatus.STATE_RUNNING
    assert last.guard_state == RunPolicy.Feedback.GUARD_UNKNOWN
    assert ready.lifecycle_state() == "inactive"


def test_the_simulated_tasks_success_ends_a_run_but_an_older_one_does_not(ready):
    before = ready.node.get_clock().now().to_msg()
    _, future = ready.send(timeout_s=60.0)
    ready.running()
    old = TaskState(success=True)
    old.header.stamp = before
    ready.task.publish(old)
    seen = len(ready.feedback)
    ready.until(lambda: len(ready.feedback) > seen + 5, "more feedback")
    assert not future.done()
    new = TaskState(success=True)
    new.header.stamp = ready.node.get_clock().now().to_msg()
    ready.task.publish(new)
    assert ready.result(future)[1].reason == Result.REASON_SUCCESS


def test_the_time_limit_ends_a_run(ready):
    status, result = ready.run(timeout_s=0.5)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.reason == Result.REASON_TIMEOUT and result.duration_s >= 0.5


def test_a_run_in_progress_refuses_a_second_and_can_be_cancelled(ready):
    handle, future = ready.send(timeout_s=60.0)
    ready.running()
    assert "another run" in ready.run()[1].message
    assert not future.done()
    handle.cancel_goal_async()
    status, result = ready.result(future)
    assert status == GoalStatus.STATUS_CANCELED and result.reason == Result.REASON_CANCELLED
    assert ready.lifecycle_state() == "inactive"


def test_guard_fault_and_takeover_end_a_run(ready):
    _, future = ready.send(timeout_s=60.0)
    ready.running()
    ready.say(GuardStatus.STATE_FAULT, GuardStatus.REASON_WORKSPACE)
    result = ready.result(future)[1]
    assert result.reason == Result.REASON_GUARD_FAULT and result.message == "the guard's words"
    _, future = ready.send(timeout_s=60.0, end_on_takeover=True)
    ready.running()
    ready.say(GuardStatus.STATE_POLICY)
    ready.until(lambda: ready.feedback[-1].guard_state == GuardStatus.STATE_POLICY, "the guard in the feedback")
    ready.say(GuardStatus.STATE_OPERATOR)
    result = ready.result(future)[1]
    assert result.reason == Result.REASON_OPERATOR_TOOK_OVER and result.interventions == 1


def test_a_dead_camera_and_a_strangers_deactivation_end_a_run(ready):
    _, future = ready.send(timeout_s=60.0)
    ready.running()
    ready.camera_alive = False
    result = ready.result(future)[1]
    ready.camera_alive = True
    assert result.reason == Result.REASON_OBSERVATION_LOST and "/agentview/image_raw" in result.message
    _, future = ready.send(timeout_s=60.0)
    ready.running()
    assert ready.change(Transition.TRANSITION_DEACTIVATE)
    status, result = ready.result(future)
    assert status == GoalStatus.STATUS_ABORTED and result.reason == Result.REASON_DEACTIVATED


def test_a_killed_policy_answers_nothing_more_so_a_caller_has_to_watch_the_feedback(domain, tiny_bundle):
    other = domain % 100 + 1
    caller = Caller(other)
    process = caller.process = start(other, bundle=tiny_bundle, backend="onnxruntime", reliable="true")
    try:
        assert caller.change(Transition.TRANSITION_CONFIGURE)
        _, future = caller.send(timeout_s=60.0)
        caller.running()
        caller.process = None
        process.kill()
        process.wait(timeout=10)
        caller.spin(0.2)
        caller.feedback.clear()
        caller.spin(0.5)
        assert not caller.feedback and not future.done()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        caller.close()
