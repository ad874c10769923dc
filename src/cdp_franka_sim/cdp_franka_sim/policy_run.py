"""A client of the action /cdp/policy/run: one run of the policy, with a person's keys and a watch over whether the node still lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cdp_msgs.action import RunPolicy
from rclpy.action import ActionClient
from rclpy.node import Node
from std_srvs.srv import Trigger

from cdp.evaluation.parts import SUCCESS, Run
from cdp.evaluation.persons import ABORT
from cdp.evaluation.results import EvaluationError
from cdp_franka_sim.ros_calls import PEER_DEADLINE_S, SERVICE_DEADLINE_S, Caller

REASONS = {getattr(RunPolicy.Result, name): name.removeprefix("REASON_").lower() for name in dir(RunPolicy.Result) if name.startswith("REASON_")}
_MONITOR = ("spread", "lipschitz", "ood_share")
# The policy node tells at 20 Hz how a run goes, also while simulated time stands still.
SILENT_S = 10.0


class PolicyRun:
    """Sends goals, one after another."""

    def __init__(self, node: Node, caller: Caller) -> None:
        self._caller = caller
        self._client = ActionClient(node, RunPolicy, "/cdp/policy/run")
        self._succeed = node.create_client(Trigger, "/cdp/policy/succeed")

    def run(self, goal: RunPolicy.Goal, key: Callable[[], str], abort: Callable[[], None]) -> Run:
        """Run the policy to its end. A success key is told to the policy node; an abort key calls ``abort`` before the goal is cancelled.

        Raises :class:`EvaluationError` where the goal is refused or the node falls silent; the goal is then cancelled as far as it still hears.
        """
        run = Run("refused", "", 0.0, monitor={name: [] for name in _MONITOR})
        heard_s = time.monotonic()

        def hear(message: Any) -> None:
            nonlocal heard_s
            heard_s = time.monotonic()
            _note(run, message.feedback)

        self._caller.until(self._client.server_is_ready, PEER_DEADLINE_S, "the action /cdp/policy/run")
        sent = self._client.send_goal_async(goal, feedback_callback=hear)
        self._caller.until(sent.done, SERVICE_DEADLINE_S, "an answer to the goal")
        handle, heard_s, aborted = sent.result(), time.monotonic(), False
        future = handle.get_result_async()
        told: Any = None
        try:
            while not future.done():
                self._caller.spin()
                if time.monotonic() - heard_s > SILENT_S:
                    raise EvaluationError(f"the policy node has told nothing of its run for {SILENT_S:.0f} s: was it ended?")
                pressed = key()
                if pressed == ABORT and not aborted:
                    aborted = True
                    abort()
                    handle.cancel_goal_async()
                elif pressed == SUCCESS and (told is None or (told.done() and not told.result().success)):
                    # Not again unless it was refused: a request that is still on its way when this run ends would end the next.
                    told = self._succeed.call_async(Trigger.Request())
        except BaseException:
            handle.cancel_goal_async()
            raise
        return _finished(run, future.result().result, aborted)


def _finished(run: Run, result: RunPolicy.Result, aborted: bool) -> Run:
    if result.reason == RunPolicy.Result.REASON_REFUSED:
        raise EvaluationError(f"the policy node refused the run: {result.message}")
    run.reason, run.message = ("cancelled", "aborted by the operator") if aborted else (REASONS[result.reason], result.message)
    run.duration_s, run.chunks, run.late_chunks = result.duration_s, result.chunks, result.late_chunks
    run.interventions, run.guard_holds = result.interventions, result.guard_holds
    return run


def _note(run: Run, feedback: RunPolicy.Feedback) -> None:
    """Keep a feedback's figures; those of a chunk once."""
    if feedback.chunks != run.chunks:
        run.chunks = feedback.chunks
        run.latency_ms.append(feedback.observation_to_action_ms)
        for name, values in run.monitor.items():
            values.append(getattr(feedback, name))
