"""What other projects' files leave out of our layout: filled in where that is honest, and said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cdp.data.demos import DataError, Demo, Rows, new_demos, write_demo, write_masks
from cdp.data.spec import NS_PER_S
from cdp.geometry import FloatArray

_SMALLEST_SCALE = 1e-6


@dataclass(frozen=True)
class ConvertReport:
    """What was written, and what the source did not say or the target cannot hold."""

    path: Path
    demos: int
    rows: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """Demonstrations from elsewhere: each its arrays and attributes, not yet complete, and what is said of all of them."""

    demos: Sequence[Demo]
    attrs: Mapping[str, Any]
    masks: Mapping[str, Sequence[str]]
    notes: Sequence[str] = ()


def complete(source: Source, rate_hz: float) -> tuple[Iterator[Demo], list[str]]:
    """The demonstrations with every array that does not come from cameras or the robot, and what had to be filled in.

    Absent stamps are counted at ``rate_hz`` and the demonstration's attribute ``stamps`` says ``nominal``; absent rewards are 0, ``dones`` mark the
    last row, absent ``states`` are one zero. Actions beyond [-1, 1] are divided by their greatest magnitude, which ``action_scale`` keeps.
    """
    if not all("actions" in demo.arrays for demo in source.demos):
        raise DataError("a demonstration has no actions; nothing was written")
    notes = list(source.notes)
    absent = [name for name in ("stamp_ns", "rewards", "dones", "states") if any(name not in demo.arrays for demo in source.demos)]
    if "stamp_ns" in absent:
        notes.append(f"stamps are absent: rows are counted at {rate_hz:g} Hz, and the attribute stamps says nominal")
    if rest := [name for name in absent if name != "stamp_ns"]:
        notes.append(f"{', '.join(rest)}: absent, filled in (0; dones 1 in the last row)")
    scale = _scale(source.demos)
    if scale is not None and np.any(scale != 1.0):
        notes.append("actions leave [-1, 1]: divided by their greatest magnitude, which action_scale keeps")
    return (_completed(demo, rate_hz, scale) for demo in source.demos), notes


def write_source(source: Source, out: str | Path, rate_hz: float) -> ConvertReport:
    """Write demonstrations from elsewhere to ``out``. Raises :class:`DataError`."""
    demos, notes = complete(source, rate_hz)
    rows = 0
    with new_demos(out) as file:
        data = file.create_group("data")
        for index, demo in enumerate(demos):
            write_demo(data.create_group(f"demo_{index}"), demo)
            rows += demo.rows
        data.attrs.update({"rate_hz": rate_hz, **source.attrs, "total": rows})
        names = [f"demo_{i}" for i in range(len(source.demos))]
        masks = source.masks or {"train": names, "valid": []}
        write_masks(file, masks)
    if not source.masks:
        notes.append("no splits: every demonstration trains; `cdp data split` draws some for validation")
    return ConvertReport(Path(out), len(names), rows, tuple(notes))


def _scale(demos: Sequence[Demo]) -> FloatArray | None:
    """Divisors (A,) of the actions; ones where they fit. None where the demonstrations say their own."""
    if any("action_scale" in demo.attrs for demo in demos):
        return None
    greatest = np.max([np.abs(np.asarray(demo.arrays["actions"][:])).max(axis=0) for demo in demos], axis=0)
    return np.asarray(np.ones_like(greatest) if np.all(greatest <= 1.0) else np.maximum(greatest, _SMALLEST_SCALE))


def _completed(demo: Demo, rate_hz: float, scale: FloatArray | None) -> Demo:
    count = int(demo.arrays["actions"].shape[0])
    last = np.zeros(count, dtype=np.int64)
    last[-1] = 1
    filled: dict[str, Rows] = {
        "stamp_ns": np.round(np.arange(count) * (NS_PER_S / rate_hz)).astype(np.int64),
        "rewards": np.zeros(count),
        "dones": last,
        "states": np.zeros((count, 1)),
    }
    attrs: dict[str, Any] = {} if "stamp_ns" in demo.arrays else {"stamps": "nominal"}
    arrays = {**filled, **demo.arrays}
    if scale is not None:
        attrs["action_scale"] = scale
        if np.any(scale != 1.0):
            arrays["actions"] = np.clip(np.asarray(demo.arrays["actions"][:]) / scale, -1.0, 1.0).astype(np.float32)
    return Demo(arrays, {**attrs, **demo.attrs, "num_samples": count}, demo.array_attrs)


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as JSON takes them; :func:`restored` is the inverse."""
    return {key: _plain(value) for key, value in attrs.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    return value.item() if isinstance(value, np.generic) else value.decode() if isinstance(value, bytes) else value


def restored(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes from :func:`plain`."""
    return {key: np.asarray(v["array"], dtype=v["dtype"]) if isinstance(v, dict) and "array" in v else v for key, v in attrs.items()}


def said_of(file: h5py.File, demos: Mapping[str, Demo], masks: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Everything about a file that is no array, as JSON takes it: what another format has no place for travels in this."""
    names = list(demos)
    return {
        "attrs": plain(file["data"].attrs),
        "masks": {split: [f"demo_{names.index(name)}" for name in members] for split, members in masks.items()},
        "demos": [plain(demo.attrs) for demo in demos.values()],
        "array_attrs": [{path: plain(attrs) for path, attrs in demo.array_attrs.items()} for demo in demos.values()],
    }
