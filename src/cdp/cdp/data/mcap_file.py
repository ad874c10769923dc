"""An MCAP file being written, and the process that writes it: ``python -m cdp.data.mcap_file`` takes messages from stdin.

A process of its own, at low priority: where the machine has too little to give, the raw messages fall behind, not the episode.
"""

from __future__ import annotations

import io
import json
import os
import select
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdp.data.durable import part_of, sync_folder

SUFFIX = ".mcap"
PROFILE = "ros2"
METADATA = "cdp_episode"
COMPRESSIONS = ("zstd", "lz4", "none")
CHUNK_BYTES = 4 << 20
INSTALL = "the library mcap is not installed: pip install -r requirements/mcap.txt"
#: Before each message: number of its topic, publish time, log time, length. The number END, and nothing more, ends the file.
FRAME = struct.Struct("<IqqI")
END = 0xFFFFFFFF
# A kill costs what has not left the process: so much time at most, where the disk keeps up.
_FLUSH_PERIOD_S = 1.0
_NICENESS = 5


def mcap_of(episode: Path) -> Path:
    """The MCAP file beside an episode."""
    return episode.with_suffix(SUFFIX)


def open_writer(file: Any, compression: str) -> Any:
    """The library's writer on an open file, its header written. Raises ImportError that says how to install it."""
    try:
        from mcap.writer import CompressionType, Writer
    except ImportError:
        raise ImportError(INSTALL) from None
    writer = Writer(file, chunk_size=CHUNK_BYTES, compression=CompressionType[compression.upper()])
    writer.start(profile=PROFILE, library="cdp")
    return writer


class McapFile:
    """The file at ``path``, in progress as its part. ``topics`` are name, ROS type and definition (``ros2msg``) of each.

    Raises OSError, and ImportError where the library is missing.
    """

    def __init__(self, path: Path, topics: Sequence[Sequence[str]], metadata: Mapping[str, str], compression: str) -> None:
        self._path, self._topics = path, topics
        self._channels: dict[int, int] = {}
        self._file = part_of(path).open("wb")
        self._writer = open_writer(self._file, compression)
        self._writer.add_metadata(METADATA, dict(metadata))
        self._writer.flush()

    def add(self, topic: int, publish_ns: int, log_ns: int, data: bytes) -> None:
        """A serialized message of the topic of this number."""
        channel = self._channels.get(topic)
        if channel is None:
            name, kind, definition = self._topics[topic]
            schema = self._writer.register_schema(kind, "ros2msg", definition.encode())
            channel = self._channels[topic] = self._writer.register_channel(name, "cdr", schema)
        self._writer.add_message(channel, log_ns, data, publish_ns)

    def flush(self) -> None:
        """End the chunk in progress and give it to the system."""
        self._writer.flush()

    def finish(self) -> None:
        """End the file, bring it to the disk and give it its name."""
        self._writer.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        part_of(self._path).replace(self._path)
        sync_folder(self._path.parent)


def main() -> int:
    """Write the file that the first line of stdin describes; 0 where it is finished. Without an end it stays a part, up to the last message."""
    os.nice(_NICENESS)
    source = io.FileIO(sys.stdin.fileno(), closefd=False)
    try:
        length = int.from_bytes(_exactly(source, 4), "little")
        about = json.loads(_exactly(source, length))
        file = McapFile(Path(about["path"]), about["topics"], about["metadata"], about["compression"])
        flush_at_s = time.monotonic() + _FLUSH_PERIOD_S
        while True:
            if not select.select([source], [], [], _FLUSH_PERIOD_S)[0] or time.monotonic() >= flush_at_s:
                file.flush()
                flush_at_s = time.monotonic() + _FLUSH_PERIOD_S
            topic, publish_ns, log_ns, length = FRAME.unpack(_exactly(source, FRAME.size))
            if topic == END:
                file.finish()
                return 0
            file.add(topic, publish_ns, log_ns, _exactly(source, length))
    except EOFError:
        file.flush()
    except Exception as error:  # noqa: BLE001  # whatever a codec or the disk throws: the one who feeds us is told
        sys.stderr.write(f"{error}\n")
    return 1


def _exactly(source: io.FileIO, count: int) -> bytes:
    data = bytearray(count)
    view, have = memoryview(data), 0
    while have < count:
        got = source.readinto(view[have:])
        if not got:
            raise EOFError
        have += got
    return bytes(data)


if __name__ == "__main__":
    sys.exit(main())
