"""An append-only journal: what a process wrote into it survives the process, up to the last complete record.

A file is ``_MAGIC``, then records: length and CRC-32 of the body, then the body, which is kind, stream, header stamp, receive stamp and payload. The
first record is the start, JSON. A reader stops at the first record that is cut off or damaged: everything before it is whole. The writer holds an
exclusive lock on the file, which the system lifts when the process ends, however it ends: whoever gets the lock owns a journal that nobody writes.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from cdp.data.durable import sync_folder

SUFFIX = ".journal"
_MAGIC = b"cdp-journal-1\n"
_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<BHqq")
# The system takes at most 1024 pieces at once (IOV_MAX); each record is two.
_MOST_PIECES = 1000
_MOST_BYTES = 1 << 20
# A length beyond this is damage, not a sample.
_LONGEST_BODY = 1 << 30


class Kind(IntEnum):
    """What a record is: samples have a stream, the others are JSON."""

    START = 0
    SAMPLE = 1
    NOTE = 2
    END = 3


class JournalError(RuntimeError):
    """A file that is no journal, or whose beginning is damaged."""


class JournalBusyError(JournalError):
    """A journal that another process writes."""


class JournalEmptyError(JournalError):
    """A journal that ends within its first record: nothing was recorded."""


@dataclass(frozen=True)
class Record:
    """One record; ``stream`` counts the streams in the order of the start record."""

    kind: Kind
    stream: int
    stamp_ns: int
    receive_ns: int
    payload: memoryview

    def json(self) -> Any:
        """The payload of a record that is no sample."""
        return json.loads(bytes(self.payload))


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
                pieces = _rest(pieces, done)
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
        """What was written, read under the same lock; nothing may be appended afterwards."""
        return JournalReader(self.path, os.dup(self._descriptor))

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
        head = _HEAD.pack(kind, stream, stamp_ns, receive_ns)
        check, length = zlib.crc32(head), len(head)
        for piece in payload:
            check = zlib.crc32(piece, check)
            length += len(piece)
        self._pieces += (_FRAME.pack(length, check) + head, *payload)
        self._waiting += length
        if self._waiting >= _MOST_BYTES:
            self.write()


class JournalReader:
    """The journal at ``path``, under its lock, or under the writer's own where its ``descriptor`` is given, which is closed at the end.

    A context manager. Raises :class:`JournalError`, :class:`JournalEmptyError` or :class:`JournalBusyError`.
    """

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self.path = path
        self._file: BinaryIO = path.open("rb") if descriptor is None else os.fdopen(descriptor, "rb")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.seek(0)
            self.start = _start(path, self._file)
        except BlockingIOError:
            self._file.close()
            raise JournalBusyError(f"{path}: is being recorded now") from None
        except (JournalError, ValueError):
            self._file.close()
            raise
        self._begin = self._file.tell()

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def records(self) -> Iterator[Record]:
        """The records after the start, to the end of what is whole; each time anew."""
        self._file.seek(self._begin)
        while (record := _read(self._file)) is not None:
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
    first = _read(file)
    if first is None and not file.read(1):
        raise JournalEmptyError(f"{path}: ends within its first record")
    if first is None or first.kind is not Kind.START:
        raise JournalError(f"{path}: its beginning is damaged")
    return dict(first.json())


def _rest(pieces: list[Any], done: int) -> list[Any]:
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
        while _read(file) is not None:
            end = file.tell()
    return end


def _read(file: BinaryIO) -> Record | None:
    frame = file.read(_FRAME.size)
    if len(frame) < _FRAME.size:
        return None
    length, check = _FRAME.unpack(frame)
    if not _HEAD.size <= length <= _LONGEST_BODY:
        return None
    body = file.read(length)
    if len(body) < length or zlib.crc32(body) != check:
        return None
    kind, stream, stamp_ns, receive_ns = _HEAD.unpack_from(body)
    try:
        return Record(Kind(kind), stream, stamp_ns, receive_ns, memoryview(body)[_HEAD.size :])
    except ValueError:
        return None
