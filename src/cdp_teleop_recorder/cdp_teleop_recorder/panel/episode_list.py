"""The finished episodes of a folder: list, label, delete, undo. No ROS, and no path that did not come out of the folder itself."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from cdp.data.episode import EpisodeError
from cdp.data.relabel import DISCARDED, bring_back, relabel, set_aside
from cdp_teleop_recorder.panel.episode_rows import EpisodeRow, read_row, recorded_s, thumbnail

_SUFFIX = ".hdf5"
_THUMBNAILS = 200


class ListError(Exception):
    """A request to the list that was not carried out; the message says what was kept and what to do."""


@dataclass(frozen=True)
class Listing:
    """The newest ``rows`` of ``total``; ``problem`` says why there are none."""

    rows: tuple[EpisodeRow, ...]
    total: int
    problem: str = ""


@dataclass(frozen=True)
class _Entry:
    path: Path
    recorded_s: float
    version: str


class EpisodeList:
    """The episodes in ``folder``, and those that were deleted in ``discarded`` beneath it. May be asked from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[tuple[Path, str], EpisodeRow] = {}
        self._thumbnails: OrderedDict[tuple[Path, str], bytes | None] = OrderedDict()
        self._lock = threading.Lock()
        # Held while a file is moved or rewritten: two requests for the same one come one after the other.
        self._changing = threading.Lock()

    def newest(self, count: int, *, discarded: bool = False) -> Listing:
        """The newest ``count`` episodes, or of those that were deleted. Only files that are new or changed are opened."""
        try:
            entries = self._entries(discarded)
        except FileNotFoundError:
            missing = "" if discarded else f"{self.folder} does not exist yet: the recorder makes it with its first episode"
            return Listing((), 0, missing)
        except OSError as error:
            return Listing((), 0, f"{self.folder} cannot be listed: {error}")
        rows = tuple(self._row(entry) for entry in sorted(entries.values(), key=lambda e: (e.recorded_s, e.path.name), reverse=True)[:count])
        return Listing(rows, len(entries))

    def holds(self, name: str) -> bool:
        """Whether an episode of this name is in the folder or among the deleted ones."""
        return any((self.folder / place / name).is_file() for place in ("", DISCARDED)) if Path(name).name == name else False

    def thumbnail(self, name: str, *, discarded: bool = False) -> bytes | None:
        """A small JPEG of an episode, None where it has none. Raises :class:`ListError` for a name that is not in the list."""
        entry = self._find(name, discarded)
        key = (entry.path, entry.version)
        with self._lock:
            if key in self._thumbnails:
                self._thumbnails.move_to_end(key)
                return self._thumbnails[key]
        made = thumbnail(entry.path)
        with self._lock:
            self._thumbnails[key] = made
            while len(self._thumbnails) > _THUMBNAILS:
                self._thumbnails.popitem(last=False)
        return made

    def delete(self, name: str) -> str:
        """Move an episode to ``discarded``; says so. Raises :class:`ListError`."""
        with self._changing:
            entry = self._find(name, False)
            try:
                set_aside(entry.path)
            except OSError as error:
                raise ListError(f"{name} could not be moved to {DISCARDED}/: {error}; it is kept where it was") from None
        return f"{name} was moved to {self.folder / DISCARDED}"

    def restore(self, name: str) -> str:
        """Move a deleted episode back; says so. Raises :class:`ListError`."""
        with self._changing:
            entry = self._find(name, True)
            try:
                bring_back(entry.path)
            except OSError as error:
                raise ListError(f"{name} could not be moved back: {error}; it is kept in {DISCARDED}/") from None
        return f"{name} is back"

    def relabel(self, name: str, success: bool) -> str:
        """Say whether an episode succeeded; says so. Raises :class:`ListError`; the episode is then as it was."""
        with self._changing:
            entry = self._find(name, False)
            try:
                relabel(entry.path, success)
            except (EpisodeError, OSError) as error:
                raise ListError(f"{name} could not be labelled: {error}; it is kept as it was") from None
        return f"{name} is a {'success' if success else 'failure'}"

    def _find(self, name: str, discarded: bool) -> _Entry:
        """The entry of a name that somebody sent: looked up in the listing, never joined to a path."""
        try:
            return self._entries(discarded)[name]
        except (KeyError, OSError):
            raise ListError(f"{name} is not in the list any more; nothing was changed") from None

    def _entries(self, discarded: bool) -> dict[str, _Entry]:
        found = {}
        with os.scandir(self.folder / DISCARDED if discarded else self.folder) as listing:
            for item in listing:
                if item.name.endswith(_SUFFIX) and not item.name.startswith(".") and item.is_file():
                    try:
                        stat = item.stat()
                    except OSError:
                        continue  # Moved away since it was listed.
                    path = Path(item.path)
                    version = f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"
                    found[item.name] = _Entry(path, recorded_s(path, stat.st_mtime), version)
        return found

    def _row(self, entry: _Entry) -> EpisodeRow:
        key = (entry.path, entry.version)
        with self._lock:
            known = self._rows.get(key)
        if known is None:
            known = read_row(entry.path, entry.recorded_s, entry.version)
            with self._lock:
                self._rows[key] = known
        return known
