"""The action /cdp/policy/run: one run of the policy, from activation to deactivation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cdp_msgs.action import RunPolicy
from cdp_msgs.msg import GuardStatus, PolicyStatus, TaskState
from cdp_ros.stamps import stamp_to_ns
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from cdp_policy_node.run_watch import End, Guard, Policy, Reason, RunWatch

_MONITOR = ("spread", "lipschitz", "ood_share")
#: Why a guard that followed the policy holds for an operator: "no source" is one who has pressed the deadman and sent no motion yet.
OPERATORS = (GuardStatus.REASON_NONE, GuardStatus.REASON_DEADMAN_RELEASED, GuardStatus.REASON_NO_SOURCE)


class RunAction:
    """One goal at a time, looked after by :meth:`tick`.

    A goal waits as accepted until its run has ended: an executor of one thread has nobody to spare for a callback that lasts as long.
    """

    def __init__(self, node: LifecycleNode, status: Callable[[], PolicyStatus], task: Callable[[], str], lost_s: Callable[[], float]) -> None:
        """``status`` and ``task`` say how the policy of ``node`` is and what its bundle was trained for; ``lost_s``: as in :class:`RunWatch`."""
        self._node, self._status, self._task, self._lost_s = node, status, task, lost_s
        self._goal: ServerGoalHandle | None = None
        self._watch: RunWatch | None = None
        self._server = ActionServer(
            node,
            RunPolicy,
            "/cdp/policy/run",
            execute_callback=lambda handle: RunPolicy.Result(),
            # A refusal of the action protocol has no room for a cause: a goal is accepted, and the result says why it was not run.
            goal_callback=lambda request: GoalResponse.ACCEPT,
            handle_accepted_callback=self._accept,
            cancel_callback=lambda handle: CancelResponse.ACCEPT,
        )
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(GuardStatus, "/cdp/guard/status", self._on_guard, latched)
        node.create_subscription(TaskState, "/cdp_sim/task", self._on_task, 30)
        node.create_service(Trigger, "/cdp/policy/succeed", self._on_succeed)

    @property
    def seed(self) -> int | None:
        """The seed of the sampler's noise that the goal in progress asks for; None: as configured."""
        return None if self._goal is None or self._goal.request.seed < 0 else int(self._goal.request.seed)

    def tick(self, steady_ns: int) -> None:
        """Tell how the run goes, and end it when it is over. ``steady_ns`` is of a clock that simulated time does not stop."""
        goal, watch = self._goal, self._watch
        if goal is None or watch is None:
            return
        now_ns, status = self._now_ns(), self._status()
        end = watch.check(now_ns, steady_ns, Policy(status.state), status.message)
        if end is None and goal.is_cancel_requested:
            end = End(Reason.CANCELLED, "cancelled by the caller")
        if end is None:
            goal.publish_feedback(_feedback(watch, watch.elapsed_s(now_ns), status))
            return
        result = _result(end, status)
        result.duration_s = watch.elapsed_s(now_ns)
        result.interventions, result.guard_holds = watch.interventions, watch.guard_holds
        self._goal = self._watch = None
        if end.reason is not Reason.DEACTIVATED and self._node.trigger_deactivate() != TransitionCallbackReturn.SUCCESS:
            result.message += "; the policy could not be deactivated"
        self._node.get_logger().info(f"run over, {end.reason.name.lower()}: {result.message}")
        _finish(goal, result)

    def _accept(self, goal: ServerGoalHandle) -> None:
        refusal = self._refusal(goal.request)
        if not refusal:
            asked = goal.request
            self._goal = goal
            self._watch = RunWatch(self._now_ns(), timeout_s=asked.timeout_s, lost_s=self._lost_s(), end_on_takeover=asked.end_on_takeover)
            if self._node.trigger_activate() == TransitionCallbackReturn.SUCCESS:
                return
            self._goal = self._watch = None
            refusal = "the policy could not be activated; the node's log says why"
        self._node.get_logger().warning(f"run refused: {refusal}")
        _finish(goal, _result(End(Reason.REFUSED, refusal), self._status()))

    def _refusal(self, asked: RunPolicy.Goal) -> str:
        """Why a goal cannot be run; empty where it can."""
        status = self._status()
        if self._goal is not None:
            return "another run is in progress; cancel it or wait for its end"
        if status.state == PolicyStatus.STATE_UNCONFIGURED:
            return f"no policy is loaded ({status.message}); configure the node first"
        if status.state != PolicyStatus.STATE_READY:
            return "the policy is active without a goal; deactivate the node first"
        if asked.task and asked.task != self._task():
            return f"bundle {status.bundle} was trained for task {self._task()!r}, not {asked.task!r}"
        if not (math.isfinite(asked.timeout_s) and asked.timeout_s >= 0):
            return f"timeout_s: {asked.timeout_s} is not 0 or more"
        return ""

    def _on_guard(self, message: GuardStatus) -> None:
        if self._watch is not None:
            stamp_ns, operator = stamp_to_ns(message.header.stamp), message.reason in OPERATORS
            self._watch.on_guard(stamp_ns, Guard(message.state), message.message, operator)

    def _on_task(self, message: TaskState) -> None:
        if self._watch is not None:
            self._watch.on_task(stamp_to_ns(message.header.stamp), message.success)

    def _on_succeed(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._watch is not None
        response.message = "noted" if response.success else "no run is in progress"
        if self._watch is not None:
            self._watch.succeed()
        return response

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _feedback(watch: RunWatch, elapsed_s: float, status: PolicyStatus) -> RunPolicy.Feedback:
    monitor = {name: float(getattr(status, name, math.nan)) for name in _MONITOR}
    return RunPolicy.Feedback(
        elapsed_s=elapsed_s,
        chunks=status.chunks,
        observation_to_action_ms=status.observation_to_action_ms,
        inference_ms=status.inference_ms,
        policy_state=status.state,
        guard_state=int(watch.guard),
        interventions=watch.interventions,
        guard_holds=watch.guard_holds,
        **monitor,
    )


def _result(end: End, status: PolicyStatus) -> RunPolicy.Result:
    ran = {} if end.reason is Reason.REFUSED else {"chunks": status.chunks, "late_chunks": status.late_chunks}
    return RunPolicy.Result(reason=int(end.reason), message=end.message, bundle=status.bundle, **ran)


def _finish(goal: ServerGoalHandle, result: Any) -> None:
    def answer(handle: ServerGoalHandle) -> Any:
        if handle.is_cancel_requested:
            handle.canceled()
        elif result.reason in (RunPolicy.Result.REASON_REFUSED, RunPolicy.Result.REASON_POLICY_FAULT, RunPolicy.Result.REASON_DEACTIVATED):
            handle.abort()
        else:
            handle.succeed()
        return result

    goal.execute(answer)
