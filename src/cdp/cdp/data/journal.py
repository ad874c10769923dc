"""An append-only journal: what a process wrote into it survives the process, up to the last complete record.

A file is ``_MAGIC``, then records (:mod:`cdp.data.journal_record`), the first of which is the start, JSON. A reader stops at the first record that
is cut off or damaged: everything before it is whole. The writer holds an exclusive lock on the file, which the system lifts when the process ends,
however it ends: whoever gets the lock owns a journal that nobody writes.
"""

from __future__ import annotations

import fcntl
import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from cdp.data.durable import sync_folder
from cdp.data.journal_record import Kind, Record, read_record, record_head

SUFFIX = ".journal"
_MAGIC = b"cdp-journal-1\n"
# The system takes at most 1024 pieces at once (IOV_MAX); each record is two.
_MOST_PIECES = 1000
_MOST_BYTES = 1 << 20


class JournalError(RuntimeError):
    """A file that is no journal, or whose beginning is damaged."""


class JournalBusyError(JournalError):
    """A journal that another process writes."""


class JournalEmptyError(JournalError):
    """A journal that ends within its first record: nothing was recorded."""


class JournalWriter:
    """A new journal at ``path``. One thread writes. Raises FileExistsError and OSError; after an OSError the journal ends at a whole record."""

    def __init__(self, path: Path, start: Mapping[str, Any]) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._pieces: list[Any] = []
        self._waiting = 0
        self.size = 0
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._pieces.append(_MAGIC)
            self._waiting += len(_MAGIC)
            self.add_json(Kind.START, start)
            self.sync()
            sync_folder(path.parent)
        except OSError:
            self.remove()
            raise

    def add(self, stream: int, stamp_ns: int, receive_ns: int, *payload: Any) -> None:
        """Append a sample, its payload in pieces of bytes; it is with the system after :meth:`write`, on the disk after :meth:`sync`."""
        self._add(Kind.SAMPLE, stream, stamp_ns, receive_ns, payload)

    def add_json(self, kind: Kind, value: Any) -> None:
        """Append a record that is no sample."""
        self._add(kind, 0, 0, 0, (json.dumps(value).encode(),))

    def write(self) -> None:
        """Give what was appended to the system: from here on it survives the end of the process."""
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        start = self.size
        try:
            while pieces:
                done = os.writev(self._descriptor, pieces[:_MOST_PIECES])
                self.size += done
                pieces = rest_of(pieces, done)
        except OSError:
            # What is cut off must go, or a record behind it could not be found.
            self.size = _whole(self.path, start)
            os.ftruncate(self._descriptor, self.size)
            os.lseek(self._descriptor, self.size, os.SEEK_SET)
            raise

    def sync(self) -> None:
        """Bring everything to the disk: from here on it survives a loss of power."""
        self.write()
        os.fdatasync(self._descriptor)

    def reader(self) -> JournalReader:
        """What was written, read under the same lock; what is appended meanwhile may be read or not."""
        return JournalReader(self.path, self.share())

    def share(self) -> int:
        """Another descriptor of the same lock, for a reader here or in another process: the lock lasts until all of them are closed."""
        return os.dup(self._descriptor)

    def close(self) -> None:
        """Close and leave the file. Does nothing a second time."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Close and remove the file."""
        self.path.unlink(missing_ok=True)
        self.close()

    def _add(self, kind: Kind, stream: int, stamp_ns: int, receive_ns: int, payload: tuple[Any, ...]) -> None:
        head, length = record_head(kind, stream, stamp_ns, receive_ns, payload)
        self._pieces += (head, *payload)
        self._waiting += length
        if self._waiting >= _MOST_BYTES:
            self.write()


class JournalReader:
    """The journal at ``path``, under its lock, or under the writer's own where its ``descriptor`` is given, which is closed at the end.

    A context manager. Raises :class:`JournalError`, :class:`JournalEmptyError` or :class:`JournalBusyError`.
    """

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self.path = path
        self._lock = descriptor
        # A file of its own: a descriptor of the writer's would share its place in the file.
        self._file: BinaryIO = path.open("rb")
        try:
            if descriptor is None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.start = _start(path, self._file)
        except BlockingIOError:
            self._close()
            raise JournalBusyError(f"{path}: is being recorded now") from None
        except (JournalError, ValueError):
            self._close()
            raise
        self._begin = self._file.tell()

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        self._file.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def records(self) -> Iterator[Record]:
        """The records after the start, to the end of what is whole; each time anew."""
        self._file.seek(self._begin)
        while (record := read_record(self._file)) is not None:
            yield record


def journal_of(path: Path) -> Path:
    """Where the episode that will be ``path`` is written while it is recorded."""
    return path.with_name(f".{path.name}{SUFFIX}")


def episode_of(journal: Path) -> Path:
    """The file that the episode in ``journal`` becomes."""
    return journal.with_name(journal.name.removeprefix(".").removesuffix(SUFFIX))


def journals(folder: Path) -> list[Path]:
    """Journals in ``folder``: of episodes in progress, and left behind by processes that ended without finishing theirs."""
    return sorted(folder.glob(f".*{SUFFIX}"))


def _start(path: Path, file: BinaryIO) -> dict[str, Any]:
    magic = file.read(len(_MAGIC))
    if magic != _MAGIC[: len(magic)]:
        raise JournalError(f"{path}: is no journal of an episode")
    first = read_record(file)
    if first is None and not file.read(1):
        raise JournalEmptyError(f"{path}: ends within its first record")
    if first is None or first.kind is not Kind.START:
        raise JournalError(f"{path}: its beginning is damaged")
    return dict(first.json())


def rest_of(pieces: list[Any], done: int) -> list[Any]:
    """``pieces`` without their first ``done`` bytes."""
    ends = list(accumulate(map(len, pieces)))
    first = bisect_right(ends, done)
    if first == len(pieces):
        return []
    begun = done - (ends[first - 1] if first else 0)
    return [memoryview(pieces[first])[begun:], *pieces[first + 1 :]]


def _whole(path: Path, start: int) -> int:
    """The end of the last whole record of the file, at or behind ``start``, where one ends."""
    with path.open("rb") as file:
        file.seek(start)
        end = start
        while read_record(file) is not None:
            end = file.tell()
    return end
