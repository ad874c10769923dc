"""An episode's HDF5 file, made in one pass from the samples of its journal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import cdp
from cdp.data.durable import DurableFile
from cdp.data.episode import FORMAT, EpisodeInfo, EpisodeLabels
from cdp.data.journal_record import Record
from cdp.data.sample_bytes import SampleBytes
from cdp.data.streams import JPEG, Column, StreamSpec

_STAMP = Column((), "i8")
_NUMBER_CHUNK_ROWS = 256
_IMAGE_CHUNK_ROWS = 16
_RAW_CHUNK_ROWS = 1
# Numbers wait for so many rows, images for so few: memory stays bounded however long the episode is.
_ROWS_AT_ONCE = 4096
_IMAGES_AT_ONCE = 64


def write_episode(
    path: Path, info: EpisodeInfo, streams: Mapping[str, StreamSpec], samples: Iterable[Record], labels: EpisodeLabels
) -> dict[str, int]:
    """Write the file ``path``, which appears whole or not at all; returns the samples stored by stream.

    Raises OSError where it cannot be written; then nothing is left of it. FileExistsError: its ``.part`` is there already.
    """
    file = DurableFile(path)
    try:
        groups = file.hdf5.create_group("streams")
        tables = [_Table(groups.create_group(name), spec, info) for name, spec in streams.items()]
        for sample in samples:
            tables[sample.stream].add(sample)
            if file.error is not None:
                break
        for table in tables:
            table.store()
        _write_attributes(file.hdf5, info, labels)
        file.commit()
    finally:
        file.discard()
    return {name: table.stored for name, table in zip(streams, tables, strict=True)}


class _Table:
    """The datasets of one stream."""

    def __init__(self, group: h5py.Group, spec: StreamSpec, info: EpisodeInfo) -> None:
        self._group, self._spec, self._info = group, spec, info
        self._bytes = SampleBytes(spec)
        self._names = ("stamp_ns", "receive_ns", *(spec.columns or ("data",)))
        self._rows: dict[str, list[Any]] = {name: [] for name in self._names}
        self._datasets: dict[str, h5py.Dataset] = {}
        self._at_once = _IMAGES_AT_ONCE if spec.is_image else _ROWS_AT_ONCE
        self.stored = 0
        known = {
            "topic": spec.topic,
            "type": spec.type,
            "rate_hz": spec.rate_hz,
            "fields": list(spec.fields),
            "stamped": spec.stamped if spec.topic else "",
        }
        group.attrs.update({name: value for name, value in known.items() if value})

    def add(self, sample: Record) -> None:
        """Take one sample; stored with some others."""
        values = self._bytes.unpack(sample.payload)
        for name, value in (("stamp_ns", sample.stamp_ns), ("receive_ns", sample.receive_ns), *values.items()):
            self._rows[name].append(value)
        if len(self._rows["stamp_ns"]) >= self._at_once:
            self.store()

    def store(self) -> None:
        """Store what waits; makes the datasets, empty ones too."""
        count = len(self._rows["stamp_ns"])
        for name, rows in self._rows.items():
            if name not in self._datasets:
                self._datasets[name] = self._create(name, rows[0] if rows else None)
            if rows:
                dataset = self._datasets[name]
                dataset.resize(self.stored + count, axis=0)
                dataset[self.stored :] = _each(rows) if dataset.dtype.kind == "O" else np.asarray(rows)
                rows.clear()
        self.stored += count

    def _create(self, name: str, first: Any) -> h5py.Dataset:
        if name == "data" and self._spec.is_image:
            return self._create_images(first)
        column = self._spec.columns.get(name, _STAMP)
        # Of a column whose width nobody ever learned, one extent is as good as another.
        shape = tuple(abs(extent) for extent in column.shape) if first is None else np.shape(first)
        chunks = (_NUMBER_CHUNK_ROWS, *shape)
        return self._group.create_dataset(name, (0, *shape), maxshape=(None, *shape), chunks=chunks, dtype=column.dtype)

    def _create_images(self, first: Any) -> h5py.Dataset:
        if self._spec.encoding == JPEG:
            images = self._group.create_dataset("data", (0,), maxshape=(None,), chunks=(_IMAGE_CHUNK_ROWS,), dtype=h5py.vlen_dtype(np.uint8))
            images.attrs["quality"] = int(self._info.config.get("jpeg_quality", 0))
        else:
            shape = (1, 1, 3) if first is None else np.shape(first)
            images = self._group.create_dataset("data", (0, *shape), maxshape=(None, *shape), chunks=(_RAW_CHUNK_ROWS, *shape), dtype=np.uint8)
        images.attrs["encoding"] = self._spec.encoding
        if self._bytes.size is not None:
            images.attrs["height"], images.attrs["width"] = self._bytes.size
        return images


def _each(rows: list[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """What h5py stores as N arrays of their own: it takes arrays of unlike lengths as objects, and those of one length as a table."""
    if len({len(row) for row in rows}) == 1:
        return np.stack(rows)
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


def _write_attributes(file: h5py.File, info: EpisodeInfo, labels: EpisodeLabels) -> None:
    file["idle_ns"] = np.asarray(labels.idle_ns, dtype=np.int64).reshape(-1, 2)
    file.attrs.update(
        {
            "format": FORMAT,
            "task": info.task,
            "operator": info.operator,
            "seed": info.seed,
            "success": bool(labels.success),
            "labelled": bool(labels.labelled),
            "recovered": bool(labels.recovered),
            "note": labels.note,
            "software_version": cdp.__version__,
            "started_ns": info.started_ns,
            "ended_ns": labels.ended_ns,
            "clock": info.clock,
            "config": json.dumps(dict(info.config)),
            "dropped": json.dumps(dict(labels.dropped)),
            "warnings": json.dumps(labels.warnings),
            "verdict": json.dumps(dict(labels.verdict)),
        }
    )
