"""The peers of a run of episodes, asked in order: everything waits for a condition with a deadline, and ends at once where that is asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from cdp_msgs.srv import ResetScene, StartEpisode, StopEpisode
from cdp_ros.call import UNANSWERED_S, Call
from cdp_ros.executor import make_executor
from cdp_ros.stamps import stamp_to_ns
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.node import Node
from std_srvs.srv import SetBool

PEER_DEADLINE_S = 60.0
SERVICE_DEADLINE_S = 20.0
RELEASE_DEADLINE_S = 3.0
# The simulator refuses a reset while commands still arrive; a disengaged guard falls silent within a few ticks.
RETRIES = 50
# A recorder takes no more episodes while it makes the files of several.
START_RETRIES = 300


class EpisodeError(RuntimeError):
    """The run cannot go on; the message says which peer failed and what to look at."""


class StoppedError(Exception):
    """SIGINT or SIGTERM asked for the end."""


class Peers:
    """Simulator, guard, and the policy node or the recorder. Raises EpisodeError where one fails, StoppedError once ``stop`` is set."""

    def __init__(self, node: Node, record: bool, stop: threading.Event) -> None:
        """``record``: with the recorder instead of the policy node."""
        self._node, self._record, self._stop_event = node, record, stop
        self._executor = make_executor()
        self._executor.add_node(node)
        self._reset = node.create_client(ResetScene, "/cdp_sim/reset")
        self._engage = node.create_client(SetBool, "/cdp/guard/engage")
        if record:
            self._start = node.create_client(StartEpisode, "/cdp/recorder/start")
            self._stop = node.create_client(StopEpisode, "/cdp/recorder/stop")
        else:
            self._change = node.create_client(ChangeState, "/cdp_policy/change_state")
            self._state = node.create_client(GetState, "/cdp_policy/get_state")

    def spin(self) -> None:
        """One turn of callbacks."""
        if self._stop_event.is_set():
            raise StoppedError
        self._executor.spin_once(timeout_sec=0.05)

    def until(self, condition: Callable[[], bool], deadline_s: float, what: str) -> None:
        """Spin until ``condition``."""
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                raise EpisodeError(f"waited {deadline_s:.0f} s for {what}; see the messages of that node above")
            self.spin()

    def reset(self, seed: int, hold: bool) -> int:
        """A new scene; the stamp [ns] of its first instant. ``hold``: time stands still there."""
        for _ in range(RETRIES):
            answer = self._call(self._reset, ResetScene.Request(seed=seed, hold=hold))
            if answer.success:
                return stamp_to_ns(answer.stamp)
            self._pause(0.1)
        raise EpisodeError(f"the simulator refused to reset: {answer.message}")

    def engaged(self, engage: bool) -> None:
        """Engage or disengage the guard."""
        # The guard refuses to engage without a fresh state; right after a reset that state may still be on its way.
        for _ in range(10):
            answer = self._call(self._engage, SetBool.Request(data=engage), again_s=UNANSWERED_S)
            if answer.success or not engage:
                return
            self._pause(0.1)
        raise EpisodeError(f"the guard did not engage: {answer.message}")

    def start_recording(self, task: str, seed: int) -> None:
        """Begin an episode of the scripted operator."""
        # A recorder that has only just come up has not heard every stream yet, and says so.
        for _ in range(START_RETRIES):
            answer = self._call(self._start, StartEpisode.Request(task=task, operator_name="scripted", seed=seed))
            if answer.success:
                return
            self._pause(0.1)
        raise EpisodeError(f"the recorder did not start: {answer.message}")

    def finish_recording(self, success: bool) -> str:
        """Keep the episode where it succeeded; its file."""
        answer = self._call(self._stop, StopEpisode.Request(keep=success, task_success=success, note="scripted operator"))
        if not answer.success:
            self._node.get_logger().warning(f"the recorder did not keep the episode: {answer.message}")
        return str(answer.path)

    def policy_active(self) -> None:
        """Activate the policy node, which is inactive."""
        self._transition(Transition.TRANSITION_ACTIVATE, "activate")

    def policy_inactive(self) -> None:
        """Configure or deactivate the policy node, as it needs."""
        state = self._call(self._state, GetState.Request(), again_s=UNANSWERED_S).current_state.id
        if state == State.PRIMARY_STATE_UNCONFIGURED:
            self._transition(Transition.TRANSITION_CONFIGURE, "configure")
        elif state == State.PRIMARY_STATE_ACTIVE:
            self._transition(Transition.TRANSITION_DEACTIVATE, "deactivate")

    def release(self) -> None:
        """Disengage the guard and deactivate the policy as far as they answer, also once ``stop`` is set."""
        asked = [(self._engage, SetBool.Request(data=False))]
        if not self._record:
            asked.append((self._change, ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))))
        futures = [client.call_async(request) for client, request in asked if client.service_is_ready()]
        end = time.monotonic() + RELEASE_DEADLINE_S
        while time.monotonic() < end and not all(future.done() for future in futures):
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        """Spin no more."""
        self._executor.shutdown()

    def _transition(self, transition: int, name: str) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        if not self._call(self._change, request).success:
            raise EpisodeError(f"the policy node could not {name}; its error above says why")

    def _call(self, client: Client, request: Any, *, again_s: float | None = None) -> Any:
        self.until(client.service_is_ready, PEER_DEADLINE_S, f"the service {client.srv_name}")
        call = Call(client, request, again_s)
        self.until(call.done, SERVICE_DEADLINE_S, f"an answer of {client.srv_name}")
        return call.result()

    def _pause(self, duration_s: float) -> None:
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            self.spin()
