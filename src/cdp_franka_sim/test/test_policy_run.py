"""The client of /cdp/policy/run against a policy node that is asked to misbehave, and the interrupt that waits for a callback's end."""

import signal
import threading

import pytest

rclpy = pytest.importorskip("rclpy")

from cdp_msgs.action import RunPolicy  # noqa: E402
from cdp_ros.domain import own_domain  # noqa: E402
from rclpy.action import ActionServer, CancelResponse  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.task import Future  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from cdp.evaluation.results import EvaluationError  # noqa: E402
from cdp_franka_sim import policy_run, ros_calls  # noqa: E402
from cdp_franka_sim.policy_run import PolicyRun  # noqa: E402
from cdp_franka_sim.ros_calls import Caller, Interrupt  # noqa: E402


class FakePolicy:
    """Serves the action in a thread: tells of a chunk at each turn while it is not ``silent``, and ends as it was asked to."""

    def __init__(self, domain):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("fake_policy", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.goal, self.heard, self.silent, self.refusing, self.chunks = None, [], False, False, 0
        self.server = ActionServer(
            self.node,
            RunPolicy,
            "/cdp/policy/run",
            execute_callback=lambda handle: RunPolicy.Result(),
            handle_accepted_callback=self.accept,
            cancel_callback=self.cancel,
        )
        self.node.create_service(Trigger, "/cdp/policy/succeed", self.succeed)
        self.node.create_timer(0.05, self.turn)
        self.running = True
        self.thread = threading.Thread(target=self.spin, daemon=True)
        self.thread.start()

    def spin(self):
        while self.running:
            self.executor.spin_once(timeout_sec=0.05)

    def accept(self, goal):
        if self.refusing:
            self.end(goal, RunPolicy.Result.REASON_REFUSED)
        else:
            self.goal, self.chunks = goal, 0

    def cancel(self, goal):
        self.heard.append("cancel")
        return CancelResponse.ACCEPT

    def succeed(self, _, response):
        self.heard.append("succeed")
        self.end(self.goal, RunPolicy.Result.REASON_SUCCESS)
        response.success = True
        return response

    def turn(self):
        if self.goal is None or self.silent:
            return
        if self.goal.is_cancel_requested:
            self.end(self.goal, RunPolicy.Result.REASON_CANCELLED)
            return
        self.chunks += 1
        # Each chunk is told of twice, as a node does that tells at 20 Hz and plans at 2.5.
        for _ in range(2):
            self.goal.publish_feedback(RunPolicy.Feedback(chunks=self.chunks, observation_to_action_ms=float(self.chunks), spread=0.25))

    def end(self, goal, reason):
        self.goal = None
        result = RunPolicy.Result(reason=reason, message="the node's words", duration_s=3.0, chunks=self.chunks, interventions=2)

        def answer(handle):
            (handle.canceled if handle.is_cancel_requested else handle.succeed)()
            return result

        goal.execute(answer)

    def close(self):
        self.running = False
        self.thread.join(timeout=5)
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture(scope="module")
def parts():
    domain = own_domain()
    rclpy.init(domain_id=domain)
    policy, node = FakePolicy(domain), Node("test_policy_run")
    caller = Caller(node, lambda: None, Interrupt())
    yield policy, PolicyRun(node, caller)
    caller.close()
    node.destroy_node()
    policy.close()
    rclpy.shutdown()


@pytest.fixture
def policy(parts):
    parts[0].heard.clear()
    parts[0].silent = parts[0].refusing = False
    yield parts[0]
    if parts[0].goal is not None:
        parts[0].end(parts[0].goal, RunPolicy.Result.REASON_CANCELLED)


@pytest.fixture
def client(parts):
    return parts[1]


def test_the_success_key_ends_a_run_and_each_chunk_counts_once(policy, client):
    run = client.run(RunPolicy.Goal(), lambda: "success" if policy.chunks >= 3 else "", lambda: policy.heard.append("abort"))
    assert (run.reason, run.message, run.duration_s, run.interventions) == ("success", "the node's words", 3.0, 2)
    told = run.latency_ms
    assert told and told == sorted(set(told)), "a chunk's latency was taken twice"
    assert run.monitor["spread"] == [0.25] * len(told) and policy.heard == ["succeed"]


def test_an_abort_disengages_before_the_policy_hears_of_it(policy, client):
    run = client.run(RunPolicy.Goal(), lambda: "abort" if policy.chunks >= 1 else "", lambda: policy.heard.append("abort"))
    assert policy.heard == ["abort", "cancel"] and (run.reason, run.message) == ("cancelled", "aborted by the operator")


def test_a_refusal_is_an_error_with_its_cause(policy, client):
    policy.refusing = True
    with pytest.raises(EvaluationError, match="refused the run: the node's words"):
        client.run(RunPolicy.Goal(), lambda: "", lambda: None)


def test_a_policy_node_that_tells_nothing_more_is_given_up(policy, client, monkeypatch):
    monkeypatch.setattr(policy_run, "SILENT_S", 0.5)

    def key():
        policy.silent = policy.chunks >= 2
        return ""

    with pytest.raises(EvaluationError, match="told nothing"):
        client.run(RunPolicy.Goal(), key, lambda: None)


def test_an_interrupt_waits_for_the_end_of_a_callback_and_comes_once():
    done = []
    with pytest.raises(SystemExit) as left, Interrupt() as interrupt:
        with interrupt.held():
            signal.raise_signal(signal.SIGINT)
            done.append("the callback")
        done.append("never")
    assert done == ["the callback"] and left.value.code == 130
    with pytest.raises(SystemExit) as left, Interrupt():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            # Ctrl-C pressed again and again while the arm is being held.
            signal.raise_signal(signal.SIGINT)
            done.append("held")
    assert done[-1] == "held" and left.value.code == 143


def test_the_handlers_of_before_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


class Unheard:
    """A client whose first requests are never answered, as those are that a server gets before it has found its client."""

    srv_name = "/unheard"

    def __init__(self, lost):
        self.lost, self.asked = lost, 0

    def service_is_ready(self):
        return True

    def call_async(self, request):
        self.asked += 1
        future = Future()
        if self.asked > self.lost:
            future.set_result(Trigger.Response(success=True))
        return future


@pytest.mark.parametrize(("once", "asked"), [(False, 2), (True, 1)])
def test_what_may_be_asked_twice_is_asked_again_when_its_answer_is_lost(parts, monkeypatch, once, asked):
    monkeypatch.setattr(ros_calls, "UNANSWERED_S", 0.2)
    caller, client = parts[1]._caller, Unheard(lost=1)
    if once:
        with pytest.raises(EvaluationError, match="waited 1 s for an answer of /unheard"):
            caller.call(client, None, 1.0, once=True)
    else:
        assert caller.call(client, None, 10.0).success
    assert client.asked == asked
