"""Records one episode while it happens: callers only enqueue, a thread encodes and keeps a journal, and the file appears whole or not at all.

While the episode lasts it is a journal (:mod:`cdp.data.journal`) beside its final name; at its end (:mod:`cdp.data.sealed`) that is turned into HDF5,
by the same code as a recovery after a crash does. docs/recording.md says why HDF5 itself is not the journal.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from cdp.config import to_mapping
from cdp.data.episode import EpisodeError, EpisodeInfo, EpisodeLabels
from cdp.data.episode_names import new_journal
from cdp.data.images import ImageError
from cdp.data.journal_record import Kind
from cdp.data.latency import Latencies
from cdp.data.sample_bytes import Repeats, SampleBytes
from cdp.data.sealed import SealedEpisode
from cdp.data.streams import STREAM_SPECS, StreamSpec

# What a stalled disk may hold up without a loss: two seconds of images at 100 Hz (180 MB at 640x480), and ten of everything else.
_IMAGE_QUEUE_SIZE = 200
_QUEUE_SIZE = 16384
_AT_ONCE = 32
FLUSH_PERIOD_S = 0.5

# Stream, header stamp, receive stamp, values, and when it was queued [s].
_Item: TypeAlias = tuple[str, int, int, Mapping[str, Any], float]


class EpisodeWriter:
    """An episode in progress. From any thread: :meth:`append`, then :meth:`finish`, :meth:`seal` or :meth:`discard`, once.

    What was appended is in the journal as soon as the thread has come to it, and on the disk ``flush_period_s`` later: the one survives the end of
    the process, the other a loss of power. Raises :class:`EpisodeError` where ``folder`` cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        info: EpisodeInfo,
        *,
        streams: Mapping[str, StreamSpec] = STREAM_SPECS,
        jpeg_quality: int = 95,
        image_queue_size: int = _IMAGE_QUEUE_SIZE,
        flush_period_s: float = FLUSH_PERIOD_S,
    ) -> None:
        self.info = info
        self._specs = dict(streams)
        self._index = {name: i for i, name in enumerate(streams)}
        self._packers = {name: SampleBytes(spec, jpeg_quality) for name, spec in streams.items()}
        self.path, self._journal = new_journal(Path(folder), info, self._specs)
        self._counts_lock = threading.Lock()
        self._received = dict.fromkeys(streams, 0)
        self._lost = dict.fromkeys(streams, 0)
        self._journalled, self._synced = dict.fromkeys(streams, 0), dict.fromkeys(streams, 0)
        self._error: str | None = None
        self._queue: queue.Queue[_Item | None] = queue.Queue(_QUEUE_SIZE)
        self._image_queue_size, self._images_waiting, self._most_images_waiting = image_queue_size, 0, 0
        self._flush_period_s = flush_period_s
        self._note: Mapping[str, Any] | None = None
        self._noted: Mapping[str, Any] | None = None
        self._synced_size = 0
        self.write_latency, self.sync_latency = Latencies(), Latencies()
        self._closed = self._ended = False
        self._thread = threading.Thread(target=self._run, name="episode_writer")
        self._thread.start()

    @property
    def received(self) -> dict[str, int]:
        """Samples taken, by stream."""
        with self._counts_lock:
            return dict(self._received)

    @property
    def lost(self) -> dict[str, int]:
        """Samples that could not be taken, by stream: the queue was full, the sample was no such thing, or writing had failed."""
        with self._counts_lock:
            return dict(self._lost)

    @property
    def error(self) -> str | None:
        """Why nothing is stored any more, None while all is well."""
        return self._error

    @property
    def synced(self) -> dict[str, int]:
        """Samples that are on the disk, by stream: these are not lost, whatever happens."""
        return self._synced

    @property
    def journal_bytes(self) -> int:
        """Size of the journal: about what the finished file will need."""
        return self._journal.size

    @property
    def queue_fraction(self) -> float:
        """Part of the image queue that is taken: at 1 images are lost."""
        return self._images_waiting / self._image_queue_size

    @property
    def repeats(self) -> dict[str, Repeats]:
        """Pictures that were the same as the one before, by image stream."""
        return {name: self._packers[name].repeats for name, spec in self._specs.items() if spec.is_image}

    @property
    def most_images_waiting(self) -> int:
        """The most images that ever waited."""
        return self._most_images_waiting

    def append(self, stream: str, stamp_ns: int, receive_ns: int, values: Mapping[str, Any]) -> bool:
        """Queue one sample: ``values`` has the stream's columns, an image is ``data`` (H, W, 3) uint8 RGB or ``compressed`` and its ``format``.

        Never blocks. False where it is lost; :attr:`lost` counts it.
        """
        is_image = self._specs[stream].is_image
        with self._counts_lock:
            taken = not self._closed and self._error is None and (not is_image or self._images_waiting < self._image_queue_size)
            if taken:
                try:
                    self._queue.put_nowait((stream, stamp_ns, receive_ns, values, time.monotonic()))
                except queue.Full:
                    taken = False
            if taken and is_image:
                self._images_waiting += 1
                self._most_images_waiting = max(self._most_images_waiting, self._images_waiting)
            (self._received if taken else self._lost)[stream] += 1
        return taken

    def note(self, labels: EpisodeLabels) -> None:
        """What would be the labels if the process ended now: written with the next flush, where it differs from the last."""
        self._note = to_mapping(labels)

    def drain(self) -> None:
        """Take no more and wait until what is queued is in the journal: from here on the counts are final. Does nothing a second time."""
        with self._counts_lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._queue.put(None)
        self._thread.join()

    def seal(self, labels: EpisodeLabels) -> SealedEpisode:
        """End the episode: store what is queued, and its labels; the file is yet to be made, from what is returned."""
        self._end()
        return SealedEpisode(self._journal, self._with_losses(labels), self._error)

    def finish(self, labels: EpisodeLabels) -> Path:
        """Store what is queued, label the episode and give it its final name, which is returned. Where writing had failed, :attr:`error` says so, and
        the file holds what was written until then.

        Raises :class:`EpisodeError` where the file cannot be made: what was recorded stays in its journal, earlier episodes are untouched.
        """
        return self.seal(labels).make()

    def discard(self) -> None:
        """Remove the unfinished episode."""
        self._end()
        self._journal.remove()

    def _with_losses(self, labels: EpisodeLabels) -> EpisodeLabels:
        dropped = {name: int(labels.dropped.get(name, 0)) + count for name, count in self.lost.items()}
        warnings = (*labels.warnings, f"cut off: {self._error}") if self._error else labels.warnings
        return replace(labels, dropped=dropped, warnings=warnings)

    def _end(self) -> None:
        if self._ended:
            raise EpisodeError(f"episode {self.path.name} has ended already")
        self._ended = True
        self.drain()

    def _run(self) -> None:
        ended = False
        sync_at_s = time.monotonic() + self._flush_period_s
        while not ended:
            queued_s = []
            for item in self._take(max(0.0, sync_at_s - time.monotonic())):
                ended = item is None
                if item is not None:
                    self._store(*item[:4])
                    queued_s.append(item[4])
            due = ended or time.monotonic() >= sync_at_s
            self._write(queued_s, due)
            if due:
                sync_at_s = time.monotonic() + self._flush_period_s

    def _take(self, timeout_s: float) -> list[_Item | None]:
        """What waits, at most a few at a time; the first is waited for."""
        items: list[_Item | None] = []
        with suppress(queue.Empty):
            items.append(self._queue.get(timeout=timeout_s))
            while len(items) < _AT_ONCE and items[-1] is not None:
                items.append(self._queue.get_nowait())
        return items

    def _store(self, stream: str, stamp_ns: int, receive_ns: int, values: Mapping[str, Any]) -> None:
        stored = False
        try:
            if self._error is None:
                self._journal.add(self._index[stream], stamp_ns, receive_ns, *self._packers[stream].pack(values))
                self._journalled[stream] += 1
                stored = True
        except (ImageError, ValueError, KeyError):
            pass
        except OSError as error:
            self._error = str(error)
        with self._counts_lock:
            self._images_waiting -= self._specs[stream].is_image
            if not stored:
                self._received[stream] -= 1
                self._lost[stream] += 1

    def _write(self, queued_s: list[float], due: bool) -> None:
        if self._error is not None:
            return
        try:
            note = self._note
            if due and note != self._noted:
                self._noted = note
                self._journal.add_json(Kind.NOTE, note)
            self._journal.write()
            now_s = time.monotonic()
            for then_s in queued_s:
                self.write_latency.add(now_s - then_s)
            if due and self._journal.size != self._synced_size:
                self._journal.sync()
                self._synced, self._synced_size = dict(self._journalled), self._journal.size
                self.sync_latency.add(time.monotonic() - now_s)
        except OSError as error:
            self._error = str(error)
