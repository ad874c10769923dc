"""The action /cdp/recorder/record: one episode, from its goal to its result."""

from __future__ import annotations

from collections.abc import Callable

from cdp_msgs.action import RecordEpisode
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node

from cdp_teleop_recorder.recorder_session import RecorderSession
from cdp_teleop_recorder.recorder_types import Outcome


class RecordAction:
    """One goal at a time, looked after by :meth:`tick`; the services work beside it.

    A goal waits as accepted until its episode has ended: an executor of one thread has nobody to spare for a callback that lasts as long.
    """

    def __init__(self, node: Node, session: RecorderSession, now_ns: Callable[[], int]) -> None:
        self._session, self._now_ns = session, now_ns
        self._goal: ServerGoalHandle | None = None
        self._ended: list[tuple[ServerGoalHandle, Outcome]] = []
        self._server = ActionServer(
            node,
            RecordEpisode,
            "/cdp/recorder/record",
            execute_callback=lambda handle: RecordEpisode.Result(),
            goal_callback=lambda request: GoalResponse.REJECT if session.recording else GoalResponse.ACCEPT,
            handle_accepted_callback=self._accept,
            cancel_callback=lambda handle: CancelResponse.ACCEPT,
        )

    def tick(self) -> None:
        """Tell how the episode goes, and end it when it is due, cancelled, or has ended otherwise."""
        ended, self._ended = self._ended, []
        for each in ended:
            self._answer(*each)
        goal = self._goal
        if goal is None:
            return
        now_ns = self._now_ns()
        snapshot = self._session.snapshot(now_ns)
        if not self._session.recording:
            self._end(goal, self._session.last)
        elif goal.is_cancel_requested:
            self._end(goal, self._session.stop(False, None, "", now_ns))
        elif 0 < goal.request.duration_s <= snapshot.duration_s:
            self._end(goal, self._session.stop(True, None, "", now_ns))
        else:
            goal.publish_feedback(RecordEpisode.Feedback(duration_s=snapshot.duration_s, warnings=list(snapshot.warnings)))

    def _accept(self, goal: ServerGoalHandle) -> None:
        asked, now_ns = goal.request, self._now_ns()
        started = self._session.start(asked.task, asked.operator_name, asked.seed, now_ns) if asked.task else self._session.begin(now_ns)
        if started.success:
            self._goal = goal
        else:
            self._end(goal, started)

    def _end(self, goal: ServerGoalHandle, outcome: Outcome) -> None:
        self._goal = None
        self._answer(goal, outcome)

    def _answer(self, goal: ServerGoalHandle, ended: Outcome) -> None:
        """The result of a goal, once the file is there."""
        outcome = self._session.kept.final(ended)
        if outcome is None:
            self._ended.append((goal, ended))
            return

        def answer(handle: ServerGoalHandle) -> RecordEpisode.Result:
            if handle.is_cancel_requested:
                handle.canceled()
            elif outcome.path:
                handle.succeed()
            else:
                handle.abort()
            return RecordEpisode.Result(
                success=outcome.success, message=outcome.message, path=outcome.path, frames=outcome.frames, verdict=outcome.verdict
            )

        goal.execute(answer)
