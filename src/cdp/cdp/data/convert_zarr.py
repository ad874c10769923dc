"""Demonstrations as diffusion_policy's replay buffer in zarr, and back.

``data/<key>`` holds the rows of all episodes one after another, ``meta/episode_ends`` one past the last row of each. Observations go by their own
name, ``action`` is the row that our policies predict: position (3), 6-D rotation (6), gripper (1). The rest of our arrays stands beside them with
dots for slashes, and what is no array in the root's attribute ``cdp``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.data.dataset import ACTION_KEYS
from cdp.data.demos import DataError, Demo, Rows, demo_names, open_demos, read_demo, read_masks, row_blocks
from cdp.data.durable import part_of
from cdp.data.foreign import ConvertReport, Source, restored, said_of, write_source

_ENDS = "episode_ends"
_NUMBER_CHUNK_ROWS = 1024


class _Part:
    """Rows [first, end) of a longer array, not read before they are sliced."""

    def __init__(self, array: Any, first: int, end: int) -> None:
        self._array, self._first = array, first
        self.shape: tuple[int, ...] = (end - first, *array.shape[1:])
        self.dtype = array.dtype

    def __getitem__(self, key: slice) -> NDArray[Any]:
        first, end, _ = key.indices(self.shape[0])
        return np.asarray(self._array[self._first + first : self._first + end])


def to_zarr(path: str | Path, out: str | Path) -> ConvertReport:
    """Write the replay buffer ``out``, a folder that must not be there yet. Raises :class:`DataError`."""
    zarr, out = _zarr(), Path(out)
    if out.exists():
        raise DataError(f"{out} is there already; nothing was written")
    part = part_of(out)
    shutil.rmtree(part, ignore_errors=True)
    with open_demos(path) as file:
        demos = {name: read_demo(file, name) for name in demo_names(file)}
        root = _new_group(zarr, part)
        ends = np.cumsum([demo.rows for demo in demos.values()])
        data, meta = root.create_group("data"), root.create_group("meta")
        _fill(_create(meta, _ENDS, (len(ends),), np.dtype(np.int64)), [(0, ends)])
        left_out = _write_arrays(data, meta, list(demos.values()), [int(e) for e in ends])
        root.attrs["cdp"] = said_of(file, demos, read_masks(file))
        part.replace(out)
    notes = [f"{', '.join(sorted(left_out))}: not in every demonstration in one shape, left out"] if left_out else []
    return ConvertReport(out, len(ends), int(ends[-1]), tuple(notes))


def from_zarr(path: str | Path, out: str | Path, rate_hz: float) -> ConvertReport:
    """Write a replay buffer of ours or of another project as a file of demonstrations. Raises :class:`DataError`."""
    zarr, path = _zarr(), Path(path)
    try:
        root = zarr.open_group(str(path), mode="r")
        data, ends = root["data"], np.asarray(root["meta"][_ENDS][:]).astype(np.int64)
    except (KeyError, OSError, ValueError) as error:
        raise DataError(f"{path}: is no replay buffer (data/* and meta/{_ENDS}): {error}") from error
    said = dict(root.attrs).get("cdp")
    firsts = np.concatenate([[0], ends[:-1]])
    paths = {key: _path_of(key, said is not None) for key in data}
    demos = []
    for i, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        arrays: dict[str, Rows] = {paths[key]: _Part(data[key], int(first), int(end)) for key in data if paths[key]}
        arrays |= {key.split(".", 1)[1].replace(".", "/"): root["meta"][key] for key in root["meta"] if key.startswith(f"demo_{i}.")}
        attrs = restored(said["demos"][i]) if said else {}
        array_attrs: Mapping[str, Any] = {name: restored(a) for name, a in said["array_attrs"][i].items()} if said else {}
        demos.append(Demo(arrays, {"num_samples": int(end - first), **attrs}, array_attrs))
    notes = [] if said else ["action is kept as actions: what its numbers mean (absolute, delta, joints) the buffer does not say"]
    return write_source(Source(demos, restored(said["attrs"]) if said else {}, said["masks"] if said else {}, notes), out, rate_hz)


def _path_of(key: str, ours: bool) -> str:
    if key == "action":
        return "" if ours else "actions"  # ours is made of the parts that stand beside it
    if ours and (key in ("actions", "rewards", "dones", "states", "stamp_ns") or key.startswith(("action_dict.", "next_obs."))):
        return key.replace(".", "/")
    return f"obs/{key}"


def _write_arrays(data: Any, meta: Any, demos: list[Demo], ends: list[int]) -> set[str]:
    """Write what every demonstration has row by row; returns what could not be placed."""
    left_out: set[str] = set()
    firsts = [end - demo.rows for end, demo in zip(ends, demos, strict=True)]
    for path in dict.fromkeys(path for demo in demos for path in demo.arrays):
        found = [demo.arrays.get(path) for demo in demos]
        kinds = {(array.shape[1:], np.dtype(array.dtype)) for array in found if array is not None}
        if path.startswith("streams/"):
            for i, array in enumerate(found):
                if array is not None:
                    _fill(_create(meta, f"demo_{i}.{path.replace('/', '.')}", array.shape, array.dtype), [(0, array)])
        elif None in found or len(kinds) > 1:
            left_out.add(path)
        else:
            ((shape, dtype),) = kinds
            target = _create(data, path.removeprefix("obs/").replace("/", "."), (ends[-1], *shape), dtype)
            _fill(target, [(first, array) for first, array in zip(firsts, found, strict=True) if array is not None])
    parts = [f"action_dict/{key}" for key in ACTION_KEYS]
    if all(part in demo.arrays for demo in demos for part in parts):
        rows = [np.concatenate([np.asarray(demo.arrays[part][:]) for part in parts], axis=-1) for demo in demos]
        _fill(_create(data, "action", (ends[-1], rows[0].shape[1]), np.dtype(np.float32)), list(zip(firsts, rows, strict=True)))
    return left_out


def _fill(target: Any, sources: list[tuple[int, Any]]) -> None:
    for first, array in sources:
        for block in row_blocks(array.shape[0]):
            target[first + block.start : first + block.stop] = np.asarray(array[block])


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise DataError("the zarr library is not installed: pip install -r requirements/data.txt") from error
    return zarr


def _new_group(zarr: Any, path: Path) -> Any:
    # diffusion_policy reads format 2; the library from version 3 on would write format 3.
    return zarr.open_group(str(path), mode="w", **({"zarr_format": 2} if int(zarr.__version__.split(".")[0]) >= 3 else {}))


def _create(group: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    chunks = (1, *shape[1:]) if len(shape) == 4 else (max(1, min(_NUMBER_CHUNK_ROWS, shape[0])), *shape[1:])
    create = group.create_array if hasattr(group, "create_array") else group.create_dataset
    return create(name, shape=shape, chunks=chunks, dtype=dtype)
