"""A file of demonstrations in a few lines."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from cdp.data.dataset import file_sha256, split_names

# Below this a target does not move the arm in a sense that matters [m].
IDLE_STEP_M = 1e-4


def describe(path: Path) -> list[str]:
    """Lines about splits, lengths, images, ranges and idle rows; the last one sums up. Raises OSError or KeyError for another file."""
    with h5py.File(path, "r") as file:
        data = file["data"]
        demos = [data[name] for name in data]
        splits = {split: len(split_names(file, split)) for split in ("train", "valid")}
        lengths = np.asarray([int(demo.attrs["num_samples"]) for demo in demos])
        images = sorted({f"{key} {value.shape[2]}x{value.shape[1]}" for demo in demos for key, value in demo["obs"].items() if value.ndim == 4})
        positions = [np.asarray(demo["action_dict/abs_pos"][()]) for demo in demos]
        steps = np.concatenate([np.linalg.norm(np.diff(p, axis=0), axis=1) for p in positions])
        everywhere = np.concatenate(positions)
        tasks = sorted({str(demo.attrs["task"]) for demo in demos})
        successes = sum(bool(demo.attrs["success"]) for demo in demos)
    spans = ", ".join(f"{axis} {low:.3f}..{high:.3f}" for axis, low, high in zip("xyz", everywhere.min(axis=0), everywhere.max(axis=0), strict=True))
    return [
        f"tasks: {', '.join(tasks)}; {successes} of {len(lengths)} demonstrations succeeded",
        f"splits: {', '.join(f'{name} {count}' for name, count in splits.items())}",
        f"rows per demonstration: {lengths.min()} to {lengths.max()}, median {int(np.median(lengths))}",
        f"images: {', '.join(images)}",
        f"targets [m]: {spans}; {100.0 * np.mean(steps < IDLE_STEP_M):.1f} % of the steps are idle (below {IDLE_STEP_M * 1000:g} mm)",
        f"sha256: {file_sha256(path)}",
        f"{path}: {len(lengths)} demonstrations, {int(lengths.sum())} rows",
    ]
