"""Begin, label, keep, discard, redo: the recorder's services as buttons, and what it answered."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from cdp_msgs.msg import RecorderStatus
from nicegui import ui

from cdp_teleop_recorder.panel.heard import Board, Mood, RecorderView
from cdp_teleop_recorder.panel.page_top import LABELS
from cdp_teleop_recorder.panel.recorder_client import Answer, RecorderClient

_ARMED_S = 3.0


class Message:
    """The outcome of what was asked last; it stays until the next one."""

    def __init__(self, name: str) -> None:
        self._label = ui.label().classes("message hidden").props(f'data-name="{name}"')

    def show(self, text: str, colour: str) -> None:
        """Colours: good, bad, plain."""
        self._label.set_text(f"{datetime.now():%H:%M:%S}  {text}")
        self._label.classes(replace=f"message {colour}")


class CarefulButton:
    """Acts when it is pressed twice: what it does cannot be taken back."""

    def __init__(self, text: str, act: Callable[[], Awaitable[None]]) -> None:
        self._text, self._act, self._armed_until_s = text, act, 0.0
        self.button = ui.button(text, on_click=self._press, color=None).classes("careful").props(f'data-name="{text.lower()}"')

    def refresh(self) -> None:
        """Forget the first press after a while."""
        armed = time.monotonic() < self._armed_until_s
        self.button.set_text(f"{self._text}: press again" if armed else self._text)
        self.button.classes(replace="careful armed" if armed else "careful")

    async def _press(self) -> None:
        if time.monotonic() >= self._armed_until_s:
            self._armed_until_s = time.monotonic() + _ARMED_S
            self.refresh()
            return
        self._armed_until_s = 0.0
        await self._act()


class Controls:
    """Of the episode in progress, and of the next."""

    def __init__(self, board: Board, recorder: RecorderClient) -> None:
        self._board, self._recorder = board, recorder
        self._busy = self._filled = False
        with ui.element("div").classes("box controls"):
            with ui.element("div").classes("line"):
                self._task = ui.input("task").props("outlined dense").classes("grow").props('data-name="task"')
                self._operator = ui.input("operator").props("outlined dense").classes("grow").props('data-name="operator"')
            self._begin = ui.button("Begin", on_click=self._on_begin, color=None).classes("begin").props('data-name="begin"')
            with ui.element("div").classes("line"):
                self._success = ui.button("Success", on_click=lambda: self._ask("label", lambda: recorder.label(True)), color=None).props(
                    'data-name="success"'
                )
                self._failure = ui.button("Failure", on_click=lambda: self._ask("label", lambda: recorder.label(False)), color=None).props(
                    'data-name="failure"'
                )
            self._keep = ui.button("Keep", on_click=lambda: self._ask("keep", recorder.keep), color=None).classes("keep").props('data-name="keep"')
            with ui.element("div").classes("line"):
                self._careful = (
                    CarefulButton("Discard", lambda: self._ask("discard", recorder.discard)),
                    CarefulButton("Redo", lambda: self._ask("redo", recorder.redo)),
                )
            self._message = Message("answer")

    def refresh(self, view: RecorderView) -> None:
        """Offer what the recorder would do now."""
        status = view.status
        if status is not None and not self._filled:
            self._filled = True
            self._task.set_value(self._task.value or status.task)
            self._operator.set_value(self._operator.value or status.operator_name)
        can_end = view.in_episode and not self._busy
        self._begin.set_enabled(view.may_begin and not self._busy)
        for button in (self._success, self._failure, self._keep):
            button.set_enabled(can_end)
        for careful in self._careful:
            careful.button.set_enabled(can_end)
            careful.refresh()
        label = status.label if status is not None and (view.in_episode or view.mood is Mood.WRITING) else RecorderStatus.LABEL_NONE
        self._success.classes(replace="success chosen" if label == RecorderStatus.LABEL_SUCCESS else "success")
        self._failure.classes(replace="failure chosen" if label == RecorderStatus.LABEL_FAILURE else "failure")
        how = {"success": "Keep as success", "failure": "Keep as failure"}.get(LABELS[label], "Keep, unlabelled")
        self._keep.set_text(how if view.in_episode else "Keep")

    async def _on_begin(self) -> None:
        task, operator = self._task.value.strip(), self._operator.value.strip()
        if not task:
            self._message.show("name the task first; nothing was started", "bad")
            return
        await self._ask("begin", lambda: self._recorder.begin(task, operator))

    async def _ask(self, what: str, call: Callable[[], Awaitable[Answer]]) -> None:
        if self._busy:
            return
        self._busy = True
        self.refresh(self._board.recorder())
        self._message.show(f"{what}: waiting for the recorder", "plain")
        try:
            answer = await call()
        finally:
            self._busy = False
        self._message.show(answer.message, "good" if answer.success else "bad")
        self.refresh(self._board.recorder())
