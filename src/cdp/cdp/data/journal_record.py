"""One record of a journal: its bytes, and how they are read back.

Length and CRC-32 of the body come first, then the body: kind, stream, header stamp, receive stamp and payload.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, BinaryIO

_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<BHqq")
# A length beyond this is damage, not a sample.
_LONGEST_BODY = 1 << 30


class Kind(IntEnum):
    """What a record is: samples have a stream, the others are JSON."""

    START = 0
    SAMPLE = 1
    NOTE = 2
    END = 3


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


def record_head(kind: Kind, stream: int, stamp_ns: int, receive_ns: int, payload: Sequence[Any]) -> tuple[bytes, int]:
    """What stands before the ``payload``, in pieces of bytes, of a record, and the bytes of the whole."""
    head = _HEAD.pack(kind, stream, stamp_ns, receive_ns)
    check, length = zlib.crc32(head), len(head)
    for piece in payload:
        check = zlib.crc32(piece, check)
        length += len(piece)
    return _FRAME.pack(length, check) + head, length


def read_record(file: BinaryIO) -> Record | None:
    """The record at this place of the file; None where it is cut off or damaged, or none is there."""
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
