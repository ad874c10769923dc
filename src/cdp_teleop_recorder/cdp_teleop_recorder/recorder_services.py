"""What a person, a button or a program can ask the recorder, under /cdp/recorder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdp_msgs.srv import StartEpisode, StopEpisode
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from cdp_teleop_recorder.recorder_session import RecorderSession
from cdp_teleop_recorder.recorder_types import Outcome


class RecorderServices:
    """Services of ``node`` around ``session``: ``catch_up`` is called before each, ``publish_status`` after it, ``now_ns`` is the node's clock."""

    def __init__(
        self,
        node: Node,
        session: RecorderSession,
        now_ns: Callable[[], int],
        publish_status: Callable[[], None],
        catch_up: Callable[[], None],
    ) -> None:
        self._node, self._session, self._now_ns = node, session, now_ns
        self._publish_status, self._catch_up = publish_status, catch_up
        node.create_service(StartEpisode, "/cdp/recorder/start", self._on_start)
        node.create_service(StopEpisode, "/cdp/recorder/stop", self._on_stop)
        node.create_service(SetBool, "/cdp/recorder/label", self._on_label)
        actions: dict[str, Callable[[], Outcome]] = {
            "begin": lambda: session.begin(now_ns()),
            "keep": lambda: session.stop(True, None, "", now_ns()),
            "discard": lambda: session.discard(now_ns()),
            "redo": lambda: session.redo(now_ns()),
            "toggle": lambda: session.toggle(now_ns()),
        }
        for name, act in actions.items():
            node.create_service(Trigger, f"/cdp/recorder/{name}", self._trigger(act))

    def _trigger(self, act: Callable[[], Outcome]) -> Callable[[Any, Any], Any]:
        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            self._prepare()
            outcome = act()
            response.success, response.message = outcome.success, outcome.message
            self._tell(outcome)
            return response

        return answer

    def _on_start(self, request: StartEpisode.Request, response: StartEpisode.Response) -> StartEpisode.Response:
        self._catch_up()
        outcome = self._session.start(request.task, request.operator_name, request.seed, self._now_ns())
        response.success, response.message, response.episode = outcome.success, outcome.message, outcome.episode
        self._tell(outcome)
        return response

    def _on_stop(self, request: StopEpisode.Request, response: StopEpisode.Response) -> StopEpisode.Response:
        self._prepare()
        outcome = self._session.stop(request.keep, request.task_success, request.note, self._now_ns())
        response.success, response.message = outcome.success, outcome.message
        response.path, response.frames = outcome.path, outcome.frames
        response.verdict, response.warnings = outcome.verdict, list(outcome.warnings)
        self._tell(outcome)
        return response

    def _on_label(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        outcome = self._session.label(request.data)
        response.success, response.message = outcome.success, outcome.message
        self._tell(outcome)
        return response

    def _prepare(self) -> None:
        """What follows may bring an episode to the disk, which takes its time."""
        self._catch_up()
        self._session.mark_writing()
        self._publish_status()

    def _tell(self, outcome: Outcome) -> None:
        # Two calls from two places: rclpy knows a log call by its line, and refuses another level there.
        if outcome.success:
            self._node.get_logger().info(outcome.message)
        else:
            self._node.get_logger().error(outcome.message)
        self._publish_status()
