"""Raw messages beside an episode, as MCAP: callers only enqueue, a thread compresses and writes, and nothing that goes wrong here reaches the caller.

``<episode>.mcap`` is written as ``.<episode>.mcap.part``, under an exclusive lock that ends with the process. :mod:`cdp.data.mcap_recover` makes
what is left of a part readable. The library ``mcap`` is imported when the first file is opened.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdp.data.durable import part_of, sync_folder

SUFFIX = ".mcap"
PROFILE = "ros2"
METADATA = "cdp_episode"
COMPRESSIONS = ("zstd", "lz4", "none")
CHUNK_BYTES = 4 << 20
INSTALL = "the library mcap is not installed: pip install -r requirements/mcap.txt"
# A kill costs what has not left the process: so much time at most, where the disk keeps up.
_FLUSH_PERIOD_S = 1.0
_OVERHEAD_BYTES = 200


@dataclass(frozen=True)
class McapTopic:
    """What a file says of a topic: its ROS ``type`` (``sensor_msgs/msg/Image``) and that type's definition with all it depends on (``ros2msg``)."""

    type: str
    schema: str


def mcap_of(episode: Path) -> Path:
    """The MCAP file beside an episode."""
    return episode.with_suffix(SUFFIX)


class McapWriter:
    """The MCAP file in progress beside ``episode``. From any thread: :meth:`append`, then :meth:`finish` or :meth:`discard`, once.

    At most ``queue_bytes`` wait; a message beyond is lost and counted. ``metadata`` is stored as a record of that name. Raises ImportError where the
    library is missing, and OSError where the file cannot be made; after that nothing raises, and :attr:`error` says why nothing is stored any more.
    """

    def __init__(
        self,
        episode: Path,
        topics: Mapping[str, McapTopic],
        metadata: Mapping[str, str],
        *,
        compression: str = "lz4",
        queue_bytes: int = 256_000_000,
    ) -> None:
        self.path = mcap_of(episode)
        self.error: str | None = None
        self._topics, self._metadata, self._compression = dict(topics), dict(metadata), compression
        self._queue_bytes = queue_bytes
        self._changed = threading.Condition()
        self._queue: deque[tuple[str, int, int, bytes]] = deque()
        self._waiting, self._closed = 0, False
        self._taken, self._lost = dict.fromkeys(topics, 0), dict.fromkeys(topics, 0)
        self._channels: dict[str, int] = {}
        self._file = part_of(self.path).open("xb")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._writer = open_writer(self._file, compression)
            self._writer.add_metadata(METADATA, self._metadata)
            self._writer.flush()
        except (ImportError, OSError):
            self._remove()
            raise
        self._thread = threading.Thread(target=self._run, name="mcap_writer", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Messages taken and lost, by topic."""
        with self._changed:
            return {topic: (taken, self._lost[topic]) for topic, taken in self._taken.items()}

    @property
    def lost(self) -> int:
        """Messages that are not in the file: the queue was full, or writing had failed."""
        with self._changed:
            return sum(self._lost.values())

    def append(self, topic: str, publish_ns: int, log_ns: int, data: bytes) -> bool:
        """Queue one serialized message. Never blocks. False where it is lost."""
        size = len(data) + _OVERHEAD_BYTES
        with self._changed:
            # One message is taken however large it is: a queue that is smaller than an image would never take one.
            taken = not self._closed and self.error is None and (not self._queue or self._waiting + size <= self._queue_bytes)
            (self._taken if taken else self._lost)[topic] += 1
            if taken:
                self._queue.append((topic, publish_ns, log_ns, data))
                self._waiting += size
                self._changed.notify()
        return taken

    def close(self) -> None:
        """Take no more: the counts of what was lost on the way in are final. Does nothing a second time."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def stop(self, reason: str) -> None:
        """Take no more, for this reason: what follows is lost. The file is finished with its episode."""
        with self._changed:
            self.error = self.error or reason
            self._closed = True
            self._changed.notify()

    def finish(self) -> Path | None:
        """Write what is queued, bring the file to the disk and give it its name; None where that fails: :attr:`error` says why, the part is kept."""
        self.close()
        self._thread.join()
        if self._writer is None:
            with suppress(OSError):
                self._file.close()
            return None
        try:
            self._writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
            part_of(self.path).replace(self.path)
            sync_folder(self.path.parent)
            self._file.close()
        except OSError as error:
            self._fail(error)
            with suppress(OSError):
                self._file.close()
            return None
        return self.path

    def discard(self) -> None:
        """Remove the unfinished file."""
        with self._changed:
            self._queue.clear()
        self.close()
        self._thread.join()
        self._remove()

    def _run(self) -> None:
        flush_at_s = time.monotonic() + _FLUSH_PERIOD_S
        try:
            while (batch := self._take(max(0.0, flush_at_s - time.monotonic()))) is not None:
                for message in batch:
                    self._store(*message)
                if time.monotonic() >= flush_at_s:
                    self._writer.flush()
                    flush_at_s = time.monotonic() + _FLUSH_PERIOD_S
        except Exception as error:  # noqa: BLE001  # whatever a codec or the disk throws costs this file alone
            self._fail(error)

    def _take(self, timeout_s: float) -> list[tuple[str, int, int, bytes]] | None:
        """What waits, a message at a time, so that memory is free again as soon as it is stored; None at the end."""
        with self._changed:
            if not self._queue and not self._closed:
                self._changed.wait(timeout_s)
            if not self._queue:
                return None if self._closed else []
            return [self._queue.popleft()]

    def _store(self, topic: str, publish_ns: int, log_ns: int, data: bytes) -> None:
        channel = self._channels.get(topic)
        if channel is None:
            about = self._topics[topic]
            schema = self._writer.register_schema(about.type, "ros2msg", about.schema.encode())
            channel = self._channels[topic] = self._writer.register_channel(topic, "cdr", schema)
        self._writer.add_message(channel, log_ns, data, publish_ns)
        with self._changed:
            self._waiting -= len(data) + _OVERHEAD_BYTES

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self.error = f"{error}; what was written is kept in {part_of(self.path).name}: make room and run cdp data recover {self.path.parent}"
            for topic, *_ in self._queue:
                self._taken[topic] -= 1
                self._lost[topic] += 1
            self._queue.clear()
            self._closed = True
        # The library's writer is in the middle of a record; it is not asked again.
        self._writer = None

    def _remove(self) -> None:
        part_of(self.path).unlink(missing_ok=True)
        with suppress(OSError):
            self._file.close()


def open_writer(file: Any, compression: str) -> Any:
    """The library's writer on an open file, its header written. Raises ImportError that says how to install it."""
    try:
        from mcap.writer import CompressionType, Writer
    except ImportError:
        raise ImportError(INSTALL) from None
    writer = Writer(file, chunk_size=CHUNK_BYTES, compression=CompressionType[compression.upper()])
    writer.start(profile=PROFILE, library="cdp")
    return writer
