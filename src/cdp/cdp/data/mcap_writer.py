"""Raw messages beside an episode, as MCAP: callers only enqueue, a thread feeds the process that writes, and no failure reaches the caller.

``<episode>.mcap`` is written as ``.<episode>.mcap.part``, under an exclusive lock that ends with its process. :mod:`cdp.data.mcap_recover` makes what
is left of a part readable.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cdp.data.durable import part_of
from cdp.data.journal import rest_of
from cdp.data.mcap_file import END, FRAME, INSTALL, mcap_of

_OVERHEAD_BYTES = 200
# The most that the system grants anybody for a pipe: few wake-ups an image.
_PIPE_BYTES = 1 << 20
# Messages are passed on together: a thread that woke up for each would take the interpreter from the one that receives, thousands of times a second.
_PERIOD_S = 0.05
_MOST_AT_ONCE = 500


@dataclass(frozen=True)
class McapTopic:
    """What a file says of a topic: its ROS ``type`` (``sensor_msgs/msg/Image``) and that type's definition with all it depends on (``ros2msg``)."""

    type: str
    schema: str


class McapWriter:
    """The MCAP file in progress beside ``episode``. From any thread: :meth:`append`, then :meth:`finish` or :meth:`discard`, once.

    At most ``queue_bytes`` wait; a message beyond is lost and counted. ``metadata`` is stored as a record of that name. Raises ImportError where the
    library is missing, and OSError where the file or the process cannot be made; after that nothing raises, and :attr:`error` says why nothing is
    stored any more.
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
        if find_spec("mcap") is None:
            raise ImportError(INSTALL)
        self.path = mcap_of(episode)
        self.error: str | None = None
        self._numbers = {topic: i for i, topic in enumerate(topics)}
        about = [(name, topic.type, topic.schema) for name, topic in topics.items()]
        self._about = {"path": str(self.path), "topics": about, "metadata": dict(metadata), "compression": compression}
        self._queue_bytes = queue_bytes
        self._changed = threading.Condition()
        self._queue: deque[tuple[str, int, int, bytes]] = deque()
        self._waiting, self._closed, self._failed = 0, False, False
        self._taken, self._lost = dict.fromkeys(topics, 0), dict.fromkeys(topics, 0)
        with part_of(self.path).open("xb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                # The process inherits the lock, and holds it as long as it lives.
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "cdp.data.mcap_file"],
                    stdin=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=(lock.fileno(),),
                    start_new_session=True,
                )
            except OSError:
                part_of(self.path).unlink()
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
        return None if self._failed else self.path

    def discard(self) -> None:
        """Remove the unfinished file."""
        with self._changed:
            self._queue.clear()
            self._closed = self._failed = True
            self._changed.notify()
        self._process.kill()
        self._thread.join()
        part_of(self.path).unlink(missing_ok=True)

    def _run(self) -> None:
        assert self._process.stdin is not None and self._process.stderr is not None
        pipe = self._process.stdin.fileno()
        try:
            with suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            about = json.dumps(self._about).encode()
            _send(pipe, [len(about).to_bytes(4, "little"), about])
            while (batch := self._take()) is not None:
                heads = [FRAME.pack(self._numbers[topic], publish_ns, log_ns, len(data)) for topic, publish_ns, log_ns, data in batch]
                _send(pipe, [piece for head, message in zip(heads, batch, strict=True) for piece in (head, message[3])])
                with self._changed:
                    self._waiting -= sum(len(message[3]) + _OVERHEAD_BYTES for message in batch)
            if not self._failed:
                _send(pipe, [FRAME.pack(END, 0, 0, 0)])
        except OSError:
            # The process has ended: why, it has said itself.
            self._fail("")
        with suppress(OSError):
            self._process.stdin.close()
        said = self._process.stderr.read().decode(errors="replace").strip()
        self._process.stderr.close()
        if self._process.wait() and not (self._failed and self.error is None):
            self._fail((said.splitlines() or [f"its process ended with {self._process.returncode}"])[-1])

    def _take(self) -> list[tuple[str, int, int, bytes]] | None:
        """What has waited for a period, as far as it goes into one call of the system; None at the end."""
        with self._changed:
            if not self._closed and len(self._queue) < _MOST_AT_ONCE:
                self._changed.wait(_PERIOD_S)
            if not self._queue and self._closed:
                return None
            return [self._queue.popleft() for _ in range(min(len(self._queue), _MOST_AT_ONCE))]

    def _fail(self, reason: str) -> None:
        kept = f"what was written is kept in {part_of(self.path).name}: make room and run cdp data recover {self.path.parent}"
        with self._changed:
            self.error = f"{reason}; {kept}"
            for topic, *_ in self._queue:
                self._taken[topic] -= 1
                self._lost[topic] += 1
            self._queue.clear()
            self._closed = self._failed = True


def _send(pipe: int, pieces: list[Any]) -> None:
    while pieces:
        pieces = rest_of(pieces, os.writev(pipe, pieces))
