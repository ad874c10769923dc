"""The finished episodes: newest first, with label, verdict and picture; deleted ones can be brought back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from nicegui import run, ui

from cdp_teleop_recorder.panel.episode_list import EpisodeList, ListError, Listing
from cdp_teleop_recorder.panel.episode_rows import EpisodeRow
from cdp_teleop_recorder.panel.heard import Board
from cdp_teleop_recorder.panel.page_controls import Message
from cdp_teleop_recorder.panel.page_top import duration

_AT_ONCE = 25


class EpisodeColumn:
    """The list, and a line above it that says what came of the last request and takes a deletion back."""

    def __init__(self, board: Board, episodes: EpisodeList) -> None:
        self._board, self._episodes = board, episodes
        self._count, self._discarded = _AT_ONCE, False
        self._shown: Listing | None = None
        self._undo_name = ""
        with ui.element("div").classes("line list-head"):
            self._kept = ui.button("Episodes", on_click=lambda: self._show(False), color=None).props('data-name="show-kept"')
            self._deleted = ui.button("Deleted", on_click=lambda: self._show(True), color=None).props('data-name="show-deleted"')
            self._undo = ui.button("Undo", on_click=self._on_undo, color=None).classes("undo").props('data-name="undo"')
        self._message = Message("list-answer")
        self._elsewhere = ui.label().classes("warnings")
        self._rows = ui.element("div").classes("list").props('data-name="list"')
        self._heads()

    async def refresh(self) -> None:
        """Look at the folder again, and rebuild where something is new."""
        discarded = self._discarded
        listing = await run.io_bound(self._episodes.newest, self._count, discarded=discarded)
        if listing is None or discarded != self._discarded:
            return  # The server ends, or the other list was chosen meanwhile.
        self._elsewhere.set_text(await self._written_elsewhere())
        if listing != self._shown:
            self._shown = listing
            self._rows.clear()
            with self._rows:
                self._build(listing)
        self._heads()

    async def _written_elsewhere(self) -> str:
        status = self._board.recorder().status
        if status is None or not status.path or await run.io_bound(self._episodes.holds, Path(status.path).name):
            return ""
        return f"The recorder's last episode, {status.path}, is not in {self._episodes.folder}: start the panel with the recorder's directory"

    def _heads(self) -> None:
        self._kept.classes(replace="tab" if self._discarded else "tab chosen")
        self._deleted.classes(replace="tab chosen" if self._discarded else "tab")
        total = "" if self._shown is None else f" ({self._shown.total})"
        self._kept.set_text("Episodes" if self._discarded else f"Episodes{total}")
        self._deleted.set_text(f"Deleted{total}" if self._discarded else "Deleted")
        self._undo.set_visibility(bool(self._undo_name))

    async def _show(self, discarded: bool) -> None:
        self._discarded, self._count = discarded, _AT_ONCE
        await self.refresh()

    async def _more(self) -> None:
        self._count += _AT_ONCE
        await self.refresh()

    def _build(self, listing: Listing) -> None:
        if listing.problem:
            ui.label(listing.problem).classes("quiet")
        elif not listing.rows:
            ui.label("nothing was deleted" if self._discarded else f"no episode in {self._episodes.folder} yet").classes("quiet")
        for row in listing.rows:
            self._row(row)
        if len(listing.rows) < listing.total:
            ui.button(f"show more of {listing.total}", on_click=self._more, color=None).classes("tab")

    def _row(self, row: EpisodeRow) -> None:
        with ui.element("article").classes("episode"):
            if not row.problem:
                place = "discarded" if self._discarded else "kept"
                ui.element("img").props["src"] = f"/thumbnail/{place}/{quote(row.name, safe='')}?{row.version}"
            with ui.element("div").classes("facts"):
                with ui.element("div").classes("line"):
                    ui.label(f"{datetime.fromtimestamp(row.recorded_s):%d %b %H:%M:%S}").classes("when")
                    self._badges(row)
                ui.label(row.name).classes("file")
                if row.problem:
                    ui.label(row.problem).classes("warnings")
                else:
                    who = " · ".join(part for part in (row.task, row.operator, row.note) if part)
                    ui.label(f"{who} · {duration(row.duration_s)}").classes("who")
                    ui.label("\n".join(row.warnings)).classes("warnings")
                self._buttons(row)

    def _badges(self, row: EpisodeRow) -> None:
        if not row.problem:
            label = {None: "unlabelled", True: "success", False: "failure"}[row.success]
            ui.label(label).classes(f"badge {label}")
        ui.label(row.verdict).classes(f"badge {row.verdict}")
        if row.recovered:
            ui.label("recovered").classes("badge suspect")

    def _buttons(self, row: EpisodeRow) -> None:
        with ui.element("div").classes("line buttons"):
            if self._discarded:
                ui.button("Bring back", on_click=lambda: self._restore(row.name), color=None).classes("small").props('data-name="restore"')
                return
            if not row.problem:
                # The label that it does not have: a button that changes nothing is in the way.
                if row.success is not True:
                    ui.button("Set success", on_click=lambda: self._relabel(row.name, True), color=None).classes("small").props(
                        'data-name="row-success"'
                    )
                if row.success is not False:
                    ui.button("Set failure", on_click=lambda: self._relabel(row.name, False), color=None).classes("small").props(
                        'data-name="row-failure"'
                    )
            ui.button("Delete", on_click=lambda: self._delete(row.name), color=None).classes("small delete").props('data-name="row-delete"')

    async def _delete(self, name: str) -> None:
        if await self._change(lambda: self._episodes.delete(name)):
            self._undo_name = name
            self._heads()

    async def _on_undo(self) -> None:
        name, self._undo_name = self._undo_name, ""
        if name:
            await self._restore(name)

    async def _restore(self, name: str) -> None:
        if await self._change(lambda: self._episodes.restore(name)) and name == self._undo_name:
            self._undo_name = ""
            self._heads()

    async def _relabel(self, name: str, success: bool) -> None:
        if self._board.recorder().in_episode:
            self._message.show("label it after this recording: a label copies the file, and the recorder needs the disk", "bad")
            return
        await self._change(lambda: self._episodes.relabel(name, success))

    async def _change(self, act: Callable[[], str]) -> bool:
        try:
            done = await run.io_bound(act)
        except ListError as error:
            self._message.show(str(error), "bad")
            done = None
        else:
            self._message.show(done or "the panel is ending; nothing was changed", "good" if done else "bad")
        await self.refresh()
        return done is not None
