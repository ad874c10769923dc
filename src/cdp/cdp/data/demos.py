"""A file of demonstrations as its tools see it: one demonstration after another, each the arrays of its group and its attributes.

Arrays stay where they are until they are sliced, so that a tool never holds more than :data:`BLOCK_ROWS` rows of pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from cdp.data.durable import DurableFile, part_of

BLOCK_ROWS = 64
DEMO_NAME = re.compile(r"demo_(\d+)")


class DataError(RuntimeError):
    """A file of demonstrations that cannot be read, changed or converted; the message says what happened, what was kept and what to do."""


class Rows(Protocol):
    """What is stored row by row (T, ...): an array, or something that reads one when it is sliced, as HDF5 and zarr do."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, ...)."""

    @property
    def dtype(self) -> Any:
        """Type of the numbers."""

    def __getitem__(self, key: slice) -> Any:
        """The rows of a slice, as an array."""


@dataclass(frozen=True)
class Demo:
    """One demonstration: arrays by their path in the group (``obs/agentview_image``), its attributes, and those of its arrays."""

    arrays: Mapping[str, Rows]
    attrs: Mapping[str, Any]
    array_attrs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """T."""
        return int(self.attrs["num_samples"])


@contextmanager
def open_demos(path: str | Path) -> Iterator[h5py.File]:
    """An HDF5 file with demonstrations, to read. Raises :class:`DataError` where it is none."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    with file:
        if not demo_names(file):
            raise DataError(f"{path}: holds no demonstrations (data/demo_<number>)")
        yield file


def demo_names(file: h5py.File) -> list[str]:
    """Demonstrations in the order of their numbers."""
    names = [name for name in file.get("data", ()) if DEMO_NAME.fullmatch(name)]
    return sorted(names, key=lambda name: int(name.removeprefix("demo_")))


def read_demo(file: h5py.File, name: str) -> Demo:
    """A demonstration, its arrays not yet read; linked ones are followed. Raises :class:`DataError` where a linked file is gone."""
    group = file["data"][name]
    arrays = dict(_datasets(group, ""))
    attrs = dict(group.attrs)
    if "num_samples" not in attrs:
        raise DataError(f"{file.filename}: data/{name} has no num_samples; `cdp data validate` says what else is wrong")
    return Demo(arrays, attrs, {path: dict(array.attrs) for path, array in arrays.items() if len(array.attrs)})


def _datasets(group: h5py.Group, prefix: str) -> Iterator[tuple[str, h5py.Dataset]]:
    for key in group:
        try:
            item = group[key]
        except (KeyError, OSError) as error:
            link = group.get(key, getlink=True)
            where = f" (it links to {link.filename})" if isinstance(link, h5py.ExternalLink) else ""
            raise DataError(f"{group.file.filename}: {group.name}/{key} cannot be opened{where}: {error}") from error
        if isinstance(item, h5py.Group):
            yield from _datasets(item, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", item


def read_masks(file: h5py.File) -> dict[str, list[str]]:
    """Members of each mask, by its name."""
    return {split: [name.decode() for name in file["mask"][split][()]] for split in file.get("mask", ())}


def write_masks(file: h5py.File, masks: Mapping[str, Sequence[str]]) -> None:
    """Masks as robomimic reads them: fixed-length byte strings, in the order of the demonstrations' numbers."""
    for split, members in masks.items():
        ordered = sorted(members, key=lambda name: int(name.removeprefix("demo_")))
        file[f"mask/{split}"] = np.asarray([name.encode() for name in ordered], dtype="S16")


def write_demo(group: h5py.Group, demo: Demo) -> None:
    """Write a demonstration's arrays and attributes into its new group, pictures in blocks of rows."""
    for path, array in demo.arrays.items():
        write_array(group, path, array)
        group[path].attrs.update(demo.array_attrs.get(path, {}))
    group.attrs.update(demo.attrs)


def write_array(group: h5py.Group, path: str, array: Rows) -> None:
    """One array under ``path``."""
    if not array.shape:
        group[path] = np.asarray(array)
        return
    dataset = group.create_dataset(path, array.shape, dtype=array.dtype)
    for block in row_blocks(array.shape[0]):
        dataset[block] = array[block]


def row_blocks(rows: int) -> Iterator[slice]:
    """Slices that cover ``rows``."""
    for first in range(0, rows, BLOCK_ROWS):
        yield slice(first, min(first + BLOCK_ROWS, rows))


@contextmanager
def new_demos(out: str | Path) -> Iterator[h5py.File]:
    """A new HDF5 file that takes its name, also one that is there already, only when all is written. Raises :class:`DataError`."""
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = DurableFile(out)
    except FileExistsError:
        raise DataError(f"{part_of(out)} is there: another run is writing it, or one was killed; remove it and run again") from None
    try:
        yield file.hdf5
        file.commit()
    except OSError as error:
        raise DataError(f"{out} could not be written: {error}; nothing that was there has changed") from error
    finally:
        file.discard()


def read_all(demo: Demo, path: str) -> NDArray[Any]:
    """A whole array of a demonstration. Raises :class:`DataError` where it is absent."""
    if path not in demo.arrays:
        raise DataError(f"{path} is missing; there are {', '.join(demo.arrays)}")
    return np.asarray(demo.arrays[path][:])
