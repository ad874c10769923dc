"""Streams, queue, guard and policy."""

from __future__ import annotations

from cdp_msgs.msg import RecorderStatus
from nicegui import ui

from cdp_teleop_recorder.panel.heard import NodeView, RecorderView

_HEADS = ("stream", "Hz", "received", "lost")
# From here on an image may be dropped soon.
_QUEUE_HIGH = 0.5


class _Node:
    def __init__(self, name: str) -> None:
        with ui.element("div").classes("box node"):
            ui.label(name).classes("name")
            self._state = ui.label().classes("badge").props(f'data-name="{name}"')
            self._text = ui.label().classes("text")

    def refresh(self, view: NodeView) -> None:
        self._state.set_text(view.state)
        self._state.classes(replace=f"badge {view.colour}")
        self._text.set_text(view.text)


class Health:
    """What RecorderStatus says of the streams, and what guard and policy say of themselves."""

    def __init__(self) -> None:
        self._streams: tuple[str, ...] = ()
        self._cells: list[tuple[ui.label, ...]] = []
        self._guard, self._policy = _Node("guard"), _Node("policy")
        with ui.element("div").classes("box"):
            self._table = ui.element("div").classes("streams").props('data-name="streams"')
            with ui.element("div").classes("line"):
                self._queue = ui.label().classes("quiet")
                self._idle = ui.label().classes("quiet")
            self._none = ui.label("no word of the streams: the recorder is not there").classes("quiet")
            self._warnings = ui.label().classes("warnings tall").props('data-name="warnings"')

    def refresh(self, view: RecorderView, guard: NodeView, policy: NodeView) -> None:
        """Show all three."""
        self._guard.refresh(guard)
        self._policy.refresh(policy)
        status = view.status
        self._table.set_visibility(status is not None)
        self._none.set_visibility(status is None)
        if status is None:
            self._queue.set_text("")
            self._idle.set_text("")
            self._warnings.set_text("")
            return
        self._rows(status)
        full = status.queue_fraction >= _QUEUE_HIGH
        self._queue.set_text(f"image queue {100.0 * status.queue_fraction:.0f} %")
        self._queue.classes(replace="bad-text" if full else "quiet")
        self._idle.set_text(f"arm still for {status.idle_s:.1f} s" if view.in_episode else "counts and warnings of the last episode")
        self._warnings.set_text("\n".join(status.warnings))

    def _rows(self, status: RecorderStatus) -> None:
        if tuple(status.streams) != self._streams:
            self._streams = tuple(status.streams)
            self._table.clear()
            with self._table:
                for head in _HEADS:
                    ui.label(head).classes("head")
                self._cells = [tuple(ui.label() for _ in _HEADS) for _ in self._streams]
        for index, (name, cells) in enumerate(zip(self._streams, self._cells, strict=True)):
            rate, dropped = status.rate_hz[index], status.dropped[index]
            texts = (name, f"{rate:.1f}" if rate else "–", str(status.received[index]), str(dropped))
            warned = dropped > 0 or any(name in warning.split() for warning in status.warnings)
            for cell, text, kind in zip(cells, texts, ("name", "number", "number", "number"), strict=True):
                cell.set_text(text)
                cell.classes(replace=f"{kind} bad-text" if warned else kind)
