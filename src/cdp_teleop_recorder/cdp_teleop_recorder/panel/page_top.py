"""The line at the top, to be read from across the room: what the recorder is doing, for how long, and what is wrong."""

from __future__ import annotations

from cdp_msgs.msg import RecorderStatus
from nicegui import ui

from cdp_teleop_recorder.panel.heard import Mood, RecorderView

_WORDS = {
    Mood.GONE: "NO RECORDER",
    Mood.SILENT: "RECORDER SILENT",
    Mood.IDLE: "IDLE",
    Mood.RECORDING: "RECORDING",
    Mood.WRITING: "WRITING",
    Mood.FAULT: "FAULT",
}
LABELS = {RecorderStatus.LABEL_NONE: "unlabelled", RecorderStatus.LABEL_SUCCESS: "success", RecorderStatus.LABEL_FAILURE: "failure"}


class Top:
    """State, name and duration of the episode; below them a banner where something has to be done."""

    def __init__(self) -> None:
        with ui.element("header"):
            self._state = ui.label().classes("state").props('data-name="state"')
            self._clock = ui.label().classes("clock").props('data-name="clock"')
            self._label = ui.label().classes("badge")
            self._episode = ui.label().classes("episode-name")
            self._count = ui.label().classes("count")
        self._banner = ui.label().classes("banner").props('data-name="banner"')
        ui.label("The panel does not answer: what you see is old. Is panel_node running?").classes("dead")

    def refresh(self, view: RecorderView) -> None:
        """Show the recorder as it is."""
        status = view.status
        self._state.set_text(_WORDS[view.mood])
        self._state.classes(replace=f"state {view.mood.value}")
        in_episode = status is not None and (view.in_episode or view.mood is Mood.WRITING)
        self._clock.set_text(duration(status.duration_s) if in_episode and status is not None else "")
        label = LABELS[status.label] if in_episode and status is not None else ""
        self._label.set_text(label)
        self._label.classes(replace=f"badge {label}")
        self._episode.set_text("" if status is None else status.episode if in_episode else status.message)
        self._count.set_text("" if status is None else f"{status.episodes} kept since the recorder's start")
        self._banner.set_text(view.advice)
        self._banner.classes(replace="banner" if view.advice else "banner hidden")


def duration(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(max(0.0, seconds), 60.0)
    return f"{int(minutes)}:{rest:04.1f}"
