"""What the nodes said last, when that was, and what it means for the person at the page."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cdp_msgs.msg import GuardStatus, PolicyStatus, RecorderStatus

# The recorder says something twice a second; six times in a row is no accident.
SILENT_S = 3.0
# While it brings an episode to the disk it says nothing: 14 s were measured for 900 MB.
WRITING_S = 120.0

START_RECORDER = "start it again: ros2 launch cdp_policy_node record.launch.py"


@dataclass(frozen=True)
class Heard:
    """A message and the machine's monotonic time of its arrival [s]."""

    message: Any
    at_s: float


class Mood(Enum):
    """What the recorder is doing, as the page colours it."""

    GONE = "gone"
    SILENT = "silent"
    IDLE = "idle"
    RECORDING = "recording"
    WRITING = "writing"
    FAULT = "fault"


_MOODS = {
    RecorderStatus.STATE_IDLE: Mood.IDLE,
    RecorderStatus.STATE_RECORDING: Mood.RECORDING,
    RecorderStatus.STATE_WRITING: Mood.WRITING,
    RecorderStatus.STATE_FAULT: Mood.FAULT,
}


@dataclass(frozen=True)
class RecorderView:
    """The recorder now; ``advice`` says what to do where something is wrong, ``status`` is its last word if it is to be believed still."""

    mood: Mood
    advice: str
    status: RecorderStatus | None

    @property
    def in_episode(self) -> bool:
        """Whether an episode is in progress that can be kept or discarded."""
        return self.mood is Mood.RECORDING or (self.mood is Mood.FAULT and self.status is not None and self.status.duration_s > 0.0)

    @property
    def may_begin(self) -> bool:
        """Whether an episode can be begun."""
        return self.mood in (Mood.IDLE, Mood.FAULT) and not self.in_episode


@dataclass(frozen=True)
class NodeView:
    """Guard or policy: ``colour`` is good, plain, bad or none, where nothing was heard of it."""

    state: str
    text: str
    colour: str


class Board:
    """The last words of recorder, guard and policy. Written by the ROS thread, read by the page's."""

    def __init__(self, recorders: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        """``recorders``: how many publish the recorder's status."""
        self._recorders, self._clock = recorders, clock
        self._recorder: Heard | None = None
        self._guard: Heard | None = None
        self._policy: Heard | None = None

    def hear_recorder(self, message: RecorderStatus) -> None:
        """A status has come."""
        self._recorder = Heard(message, self._clock())

    def hear_guard(self, message: GuardStatus) -> None:
        """A status has come."""
        self._guard = Heard(message, self._clock())

    def hear_policy(self, message: PolicyStatus) -> None:
        """A status has come."""
        self._policy = Heard(message, self._clock())

    def recorder(self) -> RecorderView:
        """What the recorder is doing, as far as one can know."""
        heard = self._recorder
        silent_s = float("inf") if heard is None else self._clock() - heard.at_s
        if heard is not None and silent_s <= SILENT_S:
            status = heard.message
            return RecorderView(_MOODS[status.state], status.message if status.state == RecorderStatus.STATE_FAULT else "", status)
        if not self._recorders():
            return RecorderView(
                Mood.GONE,
                f"The recorder is not running. Finished episodes are kept, one in progress is finished at its next start; {START_RECORDER}",
                None,
            )
        if heard is None:
            return RecorderView(Mood.SILENT, "The recorder is there but has not said anything yet.", None)
        if heard.message.state == RecorderStatus.STATE_WRITING and silent_s <= WRITING_S:
            return RecorderView(
                Mood.WRITING, f"The episode is brought to the disk; the recorder says nothing meanwhile ({silent_s:.0f} s).", heard.message
            )
        return RecorderView(
            Mood.SILENT,
            f"The recorder has said nothing for {silent_s:.0f} s: it is stuck or was killed. Look at its terminal; if it has ended, {START_RECORDER}",
            None,
        )

    def guard(self) -> NodeView:
        """The command guard."""
        names = {
            GuardStatus.STATE_REFUSING: ("REFUSING", "plain"),
            GuardStatus.STATE_HOLDING: ("HOLDING", "plain"),
            GuardStatus.STATE_OPERATOR: ("OPERATOR", "good"),
            GuardStatus.STATE_POLICY: ("POLICY", "good"),
            GuardStatus.STATE_FAULT: ("FAULT", "bad"),
        }
        heard = self._guard
        if heard is not None and heard.message.reason != GuardStatus.REASON_NONE:
            return self._node(heard, names, f"{_REASONS.get(heard.message.reason, heard.message.reason)}: {heard.message.message}")
        return self._node(heard, names, "" if heard is None else heard.message.message)

    def policy(self) -> NodeView:
        """The policy node."""
        names = {
            PolicyStatus.STATE_UNCONFIGURED: ("NOT LOADED", "plain"),
            PolicyStatus.STATE_READY: ("READY", "plain"),
            PolicyStatus.STATE_WAITING: ("WAITING", "plain"),
            PolicyStatus.STATE_RUNNING: ("RUNNING", "good"),
            PolicyStatus.STATE_FAULT: ("FAULT", "bad"),
        }
        heard = self._policy
        if heard is None:
            return self._node(None, names, "")
        m = heard.message
        figures = f"{m.bundle}, {m.inference_ms:.0f} ms, {m.late_chunks} of {m.chunks} late" if m.chunks else m.bundle
        return self._node(heard, names, ". ".join(part for part in (m.message, figures) if part))

    def _node(self, heard: Heard | None, names: dict[int, tuple[str, str]], text: str) -> NodeView:
        if heard is None:
            return NodeView("not running", "", "none")
        silent_s = self._clock() - heard.at_s
        if silent_s > SILENT_S:
            return NodeView("SILENT", f"for {silent_s:.0f} s; before: {text}", "bad")
        state, colour = names.get(heard.message.state, (f"state {heard.message.state}", "plain"))
        return NodeView(state, text, colour)


_REASONS = {
    value: name.removeprefix("REASON_").lower().replace("_", " ")
    for name in dir(GuardStatus)
    if name.startswith("REASON_") and isinstance(value := getattr(GuardStatus, name), int)
}
