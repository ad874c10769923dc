"""Numbers about each array of a file of demonstrations: ranges, means, percentiles, and dimensions that never move."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cdp.data.demos import DataError, demo_names, open_demos, read_demo, read_masks, row_blocks
from cdp.geometry import FloatArray

PERCENTILES = (1, 50, 99)


def statistics(path: str | Path, split: str | None = None) -> dict[str, Any]:
    """Per array of at most two axes: ``min max mean std`` and percentiles per dimension (D,), and the dimensions that are constant.

    Of pictures: mean and standard deviation per colour, in [0, 1]. ``split`` restricts to a mask. Raises :class:`DataError`.
    """
    with open_demos(path) as file:
        masks = read_masks(file)
        if split is not None and not masks.get(split):
            raise DataError(f"{path}: has no demonstrations in mask/{split}; its masks are {', '.join(masks) or 'none'}")
        demos = [read_demo(file, name) for name in (masks[split] if split is not None else demo_names(file))]
        shared = [name for name in demos[0].arrays if all(name in demo.arrays for demo in demos)]
        arrays = {name: _of_array([demo.arrays[name] for demo in demos], [demo.rows for demo in demos]) for name in shared}
    return {
        "file": str(path),
        "split": split,
        "demonstrations": len(demos),
        "rows": sum(demo.rows for demo in demos),
        "arrays": {name: found for name, found in arrays.items() if found is not None},
    }


def table(found: dict[str, Any]) -> list[str]:
    """Lines of :func:`statistics`, one a dimension; the last one sums up."""
    lines = [f"{'array':32} {'dim':>3} {'min':>10} {'p1':>10} {'mean':>10} {'std':>10} {'p99':>10} {'max':>10}"]
    for name, numbers in found["arrays"].items():
        for d in range(len(numbers["mean"])):
            columns = ("min", "p1", "mean", "std", "p99", "max")
            values = " ".join(f"{numbers[c][d]:10.4g}" if c in numbers else " " * 10 for c in columns)
            lines.append(f"{name:32} {d:3} {values}{'  constant' if d in numbers.get('constant', ()) else ''}")
    return [*lines, f"{found['file']}: {found['demonstrations']} demonstrations, {found['rows']} rows{_of(found['split'])}"]


def _of(split: str | None) -> str:
    return f" of {split}" if split else ""


def _of_array(arrays: list[Any], rows: list[int]) -> dict[str, Any] | None:
    if any(array.shape[:1] != (count,) or array.dtype.kind not in "fiu" for array, count in zip(arrays, rows, strict=True)):
        return None
    if len(arrays[0].shape) == 4:
        return _of_pictures(arrays)
    # Whole numbers are stamps and flags here: their mean says nothing.
    if len(arrays[0].shape) > 2 or len({array.shape[1:] for array in arrays}) > 1 or arrays[0].dtype == np.int64:
        return None
    values = np.concatenate([np.asarray(array[:], dtype=np.float64).reshape(len(array[:]), -1) for array in arrays])
    low, high = values.min(axis=0), values.max(axis=0)
    quantiles = {f"p{p}": np.percentile(values, p, axis=0).tolist() for p in PERCENTILES}
    return {
        "min": low.tolist(),
        **quantiles,
        "max": high.tolist(),
        "mean": values.mean(axis=0).tolist(),
        "std": values.std(axis=0).tolist(),
        "constant": np.flatnonzero(low == high).tolist(),
    }


def _of_pictures(arrays: list[Any]) -> dict[str, Any]:
    count, total, squares = 0, np.zeros(arrays[0].shape[-1]), np.zeros(arrays[0].shape[-1])
    for pixels in _blocks(arrays):
        count += len(pixels)
        total += pixels.sum(axis=0)
        squares += (pixels**2).sum(axis=0)
    mean = total / count
    return {"mean": mean.tolist(), "std": np.sqrt(np.maximum(squares / count - mean**2, 0.0)).tolist()}


def _blocks(arrays: list[Any]) -> Iterable[FloatArray]:
    for array in arrays:
        for block in row_blocks(array.shape[0]):
            pixels = np.asarray(array[block], dtype=np.float64) / 255.0
            yield pixels.reshape(-1, pixels.shape[-1])
