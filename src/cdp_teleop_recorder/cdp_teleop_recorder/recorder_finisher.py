"""Makes the files of episodes that have ended, one after another, while the next one is recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cdp.data.episode import EpisodeError, EpisodeLabels
from cdp.data.mcap_writer import McapWriter
from cdp.data.relabel import relabel, set_aside
from cdp.data.sealed import SealedEpisode

#: So many episodes may wait for their files; each takes the disk of a journal, and none is lost if the recorder ends.
MOST_WAITING = 5


@dataclass
class Ending:
    """An episode that has ended, and the MCAP file beside it; ``aside``: to be set aside once it is made; ``closed``: too late to ask."""

    sealed: SealedEpisode
    mcap: McapWriter | None
    aside: bool = False
    closed: bool = False


@dataclass(frozen=True)
class Made:
    """What became of an episode: ``error`` is why there is no file, ``notes`` say what else went wrong."""

    path: Path
    error: str = ""
    notes: tuple[str, ...] = ()


class Finisher:
    """A thread that lives as long as there is something to do; ``done`` is called in it for each episode."""

    def __init__(self, done: Callable[[Made], None]) -> None:
        self._done = done
        self._changed = threading.Condition()
        self._endings: list[Ending] = []
        self._thread: threading.Thread | None = None

    def add(self, ending: Ending) -> None:
        """Make the file of this episode next."""
        with self._changed:
            self._endings.append(ending)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="episode_finisher")
                self._thread.start()

    @property
    def waiting(self) -> tuple[Path, ...]:
        """Episodes whose files are not there yet."""
        with self._changed:
            return tuple(ending.sealed.path for ending in self._endings)

    @property
    def needed_bytes(self) -> int:
        """About what their files will need of the disk."""
        with self._changed:
            return sum(ending.sealed.size for ending in self._endings)

    def label(self, path: Path, success: bool) -> bool:
        """Label an episode that waits; False where it does not. Raises OSError where the label cannot be stored."""
        with self._changed:
            ending = self._find(path)
            if ending is not None:
                ending.sealed.relabel(replace(ending.sealed.labels, success=success, labelled=True))
            return ending is not None

    def set_aside(self, path: Path) -> bool:
        """Set an episode that waits aside once its file is made; False where it does not wait."""
        with self._changed:
            ending = self._find(path)
            if ending is not None:
                ending.aside = True
            return ending is not None

    def wait(self) -> None:
        """Until nothing is left to do."""
        with self._changed:
            while self._endings:
                self._changed.wait()

    def _find(self, path: Path) -> Ending | None:
        return next((ending for ending in self._endings if ending.sealed.path == path and not ending.closed), None)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._endings:
                    self._thread = None
                    return
                ending = self._endings[0]
            made = self._make(ending)
            self._done(made)
            with self._changed:
                self._endings.pop(0)
                self._changed.notify_all()

    def _make(self, ending: Ending) -> Made:
        path = ending.sealed.path
        notes = []
        if ending.mcap is not None and ending.mcap.finish() is None:
            notes.append(f"{ending.mcap.path.name} could not be finished: {ending.mcap.error}")
        error = ""
        try:
            labels = ending.sealed.labels
            ending.sealed.make(apart=True)
            while not self._close(ending, labels):
                labels = ending.sealed.labels
                relabel(path, labels.success)
            if ending.aside:
                set_aside(path)
        except EpisodeError as failure:
            error = str(failure)
        except OSError as failure:
            notes.append(f"{path.name} is kept as it was when it ended: {failure}")
        with self._changed:
            ending.closed = True
        return Made(path, error, tuple(notes))

    def _close(self, ending: Ending, labels: EpisodeLabels) -> bool:
        """Whether its file has the newest labels: then nothing more can be asked for here."""
        with self._changed:
            ending.closed = ending.sealed.labels is labels
            return ending.closed
