"""Writes one episode while it happens: callers only enqueue, a thread encodes and stores, and the file appears whole or not at all."""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import cdp
from cdp.data.durable import DurableFile, part_of
from cdp.data.episode import FORMAT, STREAMS, Column, EpisodeError, EpisodeInfo, EpisodeLabels
from cdp.data.images import ImageError, decode_compressed, encode_jpeg

# What a stalled disk may hold up without a loss: two seconds of images at 100 Hz (180 MB at 640x480), and ten of everything else.
_IMAGE_QUEUE_SIZE = 200
_QUEUE_SIZE = 8192
_FLUSH_PERIOD_S = 1.0
_NUMBER_CHUNK_ROWS = 256
_IMAGE_CHUNK_ROWS = 16
_JPEG_START = b"\xff\xd8"


class _Stream:
    """The datasets of one stream. Numbers are gathered and stored with each flush, images at once."""

    def __init__(self, group: h5py.Group, columns: Mapping[str, Column], jpeg_quality: int) -> None:
        self._group, self._columns, self._quality = group, columns, jpeg_quality
        self._rows: dict[str, list[Any]] = {name: [] for name in ("stamp_ns", "receive_ns", *columns)}
        self._datasets = {name: self._create(name, columns.get(name, Column((), "i8"))) for name in self._rows}
        self._images = None if columns else self._create_images()
        self._size: tuple[int, ...] | None = None

    def add(self, stamp_ns: int, receive_ns: int, values: Mapping[str, Any]) -> None:
        if self._images is not None:
            self._add_image(self._images, values)
        row = {name: np.asarray(values[name], dtype=column.dtype).reshape(column.shape) for name, column in self._columns.items()}
        for name, value in (("stamp_ns", stamp_ns), ("receive_ns", receive_ns), *row.items()):
            self._rows[name].append(value)

    def store(self) -> None:
        for name, rows in self._rows.items():
            if rows:
                dataset = self._datasets[name]
                dataset.resize(len(dataset) + len(rows), axis=0)
                dataset[-len(rows) :] = np.asarray(rows)
                rows.clear()

    def _add_image(self, images: h5py.Dataset, values: Mapping[str, Any]) -> None:
        if "data" in values:
            rgb = values["data"]
            encoded = encode_jpeg(rgb, self._quality)
        else:
            # A picture that came as JPEG is stored as it came: a second compression would only blur it.
            rgb = decode_compressed(values["compressed"], values["format"])
            encoded = np.frombuffer(values["compressed"], dtype=np.uint8)
            if encoded[:2].tobytes() != _JPEG_START:
                encoded = encode_jpeg(rgb, self._quality)
        if self._size is None:
            images.attrs["height"], images.attrs["width"] = rgb.shape[:2]
        elif rgb.shape != self._size:
            raise ImageError(f"the image is {rgb.shape[1]}x{rgb.shape[0]}; the episode began with {self._size[1]}x{self._size[0]}")
        self._size = rgb.shape
        images.resize(len(images) + 1, axis=0)
        images[-1] = encoded

    def _create(self, name: str, column: Column) -> h5py.Dataset:
        return self._group.create_dataset(
            name, (0, *column.shape), maxshape=(None, *column.shape), chunks=(_NUMBER_CHUNK_ROWS, *column.shape), dtype=column.dtype
        )

    def _create_images(self) -> h5py.Dataset:
        images = self._group.create_dataset("data", (0,), maxshape=(None,), chunks=(_IMAGE_CHUNK_ROWS,), dtype=h5py.vlen_dtype(np.uint8))
        images.attrs["encoding"], images.attrs["quality"] = "jpeg", self._quality
        return images


class EpisodeWriter:
    """An episode in progress. From any thread: :meth:`append`, then :meth:`finish` or :meth:`discard`, once.

    The file is ``.<task>_<utc>_<n>.hdf5.part`` until :meth:`finish` has brought it to the disk and renamed it; a process that dies leaves only that.
    Raises :class:`EpisodeError` where ``folder`` cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        info: EpisodeInfo,
        *,
        streams: tuple[str, ...] = tuple(STREAMS),
        jpeg_quality: int = 95,
        image_queue_size: int = _IMAGE_QUEUE_SIZE,
    ) -> None:
        self.info = info
        self._file = _create(Path(folder), info.task)
        groups = self._file.hdf5.create_group("streams")
        self._streams = {name: _Stream(groups.create_group(name), STREAMS[name], jpeg_quality) for name in streams}
        self._counts_lock = threading.Lock()
        self._received = dict.fromkeys(streams, 0)
        self._lost = dict.fromkeys(streams, 0)
        self._error: str | None = None
        self._queue: queue.Queue[tuple[str, int, int, Mapping[str, Any]] | None] = queue.Queue(_QUEUE_SIZE)
        self._image_places = threading.BoundedSemaphore(image_queue_size)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="episode_writer")
        self._thread.start()

    @property
    def path(self) -> Path:
        """The final name."""
        return self._file.path

    @property
    def received(self) -> dict[str, int]:
        """Samples taken, by stream."""
        with self._counts_lock:
            return dict(self._received)

    @property
    def lost(self) -> dict[str, int]:
        """Samples that could not be taken, by stream: the queue was full, or the sample was no such thing."""
        with self._counts_lock:
            return dict(self._lost)

    @property
    def error(self) -> str | None:
        """Why nothing is stored any more, None while all is well."""
        return self._error

    def append(self, stream: str, stamp_ns: int, receive_ns: int, values: Mapping[str, Any]) -> bool:
        """Queue one sample: ``values`` has the stream's columns, an image is ``data`` (H, W, 3) uint8 RGB or ``compressed`` and its ``format``.

        Never blocks.

        False where it is lost; :attr:`lost` counts it.
        """
        is_image = not STREAMS[stream]
        taken = not self._closed.is_set() and (not is_image or self._image_places.acquire(blocking=False))
        if taken:
            try:
                self._queue.put_nowait((stream, stamp_ns, receive_ns, values))
            except queue.Full:
                taken = False
                if is_image:
                    self._image_places.release()
        with self._counts_lock:
            (self._received if taken else self._lost)[stream] += 1
        return taken

    def finish(self, labels: EpisodeLabels) -> Path:
        """Store what is queued, label the episode and give it its final name, which is returned.

        Raises :class:`EpisodeError` where writing failed; the unfinished file is removed, earlier episodes are untouched.
        """
        self._stop()
        try:
            if self._error is None:
                _write_attributes(self._file.hdf5, self.info, labels, self.lost)
                return self._file.commit()
        except OSError as error:
            self._error = str(error)
        self._file.discard()
        raise EpisodeError(
            f"episode {self.path.name} could not be written: {self._error}; it was removed, earlier episodes are kept; "
            f"make room in {self.path.parent} and record it again"
        )

    def discard(self) -> None:
        """Remove the unfinished file."""
        self._stop()
        self._file.discard()

    def _stop(self) -> None:
        if self._closed.is_set():
            raise EpisodeError(f"episode {self.path.name} has ended already")
        self._closed.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        flush_at_s = time.monotonic() + _FLUSH_PERIOD_S
        while not ended:
            try:
                item = self._queue.get(timeout=_FLUSH_PERIOD_S)
            except queue.Empty:
                pass
            else:
                ended = item is None
                if item is not None:
                    self._store(*item)
            if ended or time.monotonic() >= flush_at_s:
                self._flush()
                flush_at_s = time.monotonic() + _FLUSH_PERIOD_S

    def _store(self, stream: str, stamp_ns: int, receive_ns: int, values: Mapping[str, Any]) -> None:
        if not STREAMS[stream]:
            self._image_places.release()
        if self._error is not None:
            return
        try:
            self._streams[stream].add(stamp_ns, receive_ns, values)
        except (ImageError, ValueError, KeyError):
            with self._counts_lock:
                self._received[stream] -= 1
                self._lost[stream] += 1
        except (OSError, RuntimeError) as error:
            self._error = str(error)
        self._note_failure()

    def _flush(self) -> None:
        if self._error is not None:
            return
        try:
            for stream in self._streams.values():
                stream.store()
            self._file.hdf5.flush()
        except (OSError, RuntimeError, ValueError) as error:
            self._error = str(error)
        self._note_failure()

    def _note_failure(self) -> None:
        # The sink's own reason is the system's: no space left on device.
        if self._file.error is not None:
            self._error = str(self._file.error)


def _create(folder: Path, task: str) -> DurableFile:
    name = re.sub(r"[^A-Za-z0-9-]+", "_", task) or "episode"
    utc = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = folder / f"{name}_{utc}_{number}.hdf5"
            number += 1
            if path.exists() or part_of(path).exists():
                continue
            try:
                return DurableFile(path)
            except FileExistsError:
                continue
    except OSError as error:
        raise EpisodeError(f"no episode can be written to {folder}: {error}; choose another folder or make it writable") from error


def _write_attributes(file: h5py.File, info: EpisodeInfo, labels: EpisodeLabels, lost: Mapping[str, int]) -> None:
    dropped = {name: int(labels.dropped.get(name, 0)) + count for name, count in lost.items()}
    file.attrs.update(
        {
            "format": FORMAT,
            "task": info.task,
            "operator": info.operator,
            "seed": info.seed,
            "success": bool(labels.success),
            "note": labels.note,
            "software_version": cdp.__version__,
            "started_ns": info.started_ns,
            "ended_ns": labels.ended_ns,
            "clock": info.clock,
            "config": json.dumps(dict(info.config)),
            "dropped": json.dumps(dropped),
            "warnings": json.dumps(labels.warnings),
        }
    )
