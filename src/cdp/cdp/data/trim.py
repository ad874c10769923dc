"""Takes idle rows off both ends of demonstrations: a policy that has seen them learns to stand still where it should begin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdp.config import setting
from cdp.data.demos import DataError, Demo, demo_names, new_demos, open_demos, read_all, read_demo, read_masks, write_demo, write_masks
from cdp.geometry import FloatArray, matrix_to_rotvec, quat_to_matrix, rot6d_to_matrix

_SMALLEST_ROWS = 2


@dataclass(frozen=True)
class IdleRule:
    """A row is idle while target and measured pose stay within these of where they were at the end in question, and the gripper is not moved."""

    position_m: float = setting(0.001, low=0.0, high=1.0, help="distance from the pose at the end of the demonstration [m]")
    rotation_rad: float = setting(0.01, low=0.0, high=3.15, help="turn from the pose at the end of the demonstration [rad]")
    gripper: float = setting(0.02, low=0.0, high=2.0, help="change of the gripper's command, which spans -1 to 1")
    margin_rows: int = setting(1, low=0, high=1000, help="idle rows that are kept on each side, so that standing still is seen once")


@dataclass(frozen=True)
class TrimReport:
    """Rows taken off the start and the end of each demonstration that lost some, and demonstrations that were left out as idle throughout."""

    path: Path
    demos: int
    rows: int
    taken: dict[str, tuple[int, int]]
    left_out: tuple[str, ...]


def idle_ends(demo: Demo, rule: IdleRule) -> tuple[int, int]:
    """Rows [first, end) that remain of a demonstration; first = end where it is idle throughout. Raises :class:`DataError` without its poses."""
    moved = _moved_since(demo, rule, 0)
    if not moved.any():
        return 0, 0
    first = int(np.argmax(moved))
    end = demo.rows - int(np.argmax(_moved_since(demo, rule, demo.rows - 1)[::-1]))
    first, end = max(0, first - rule.margin_rows), min(demo.rows, end + rule.margin_rows)
    return (first, end) if end - first >= _SMALLEST_ROWS else (0, 0)


def _moved_since(demo: Demo, rule: IdleRule, row: int) -> NDArray[np.bool_]:
    """Whether each row (T,) is away from ``row``, in target, measured pose or gripper."""
    targets = rot6d_to_matrix(read_all(demo, "action_dict/abs_rot_6d"))
    measured = quat_to_matrix(read_all(demo, "obs/robot0_eef_quat"))
    gripper = read_all(demo, "action_dict/gripper")
    away = np.abs(gripper - gripper[row]).max(axis=-1) > rule.gripper
    for position in ("action_dict/abs_pos", "obs/robot0_eef_pos"):
        values = read_all(demo, position)
        away |= np.linalg.norm(values - values[row], axis=-1) > rule.position_m
    for rotation in (targets, measured):
        away |= _turn_rad(rotation, rotation[row]) > rule.rotation_rad
    return np.asarray(away)


def _turn_rad(rotations: FloatArray, other: FloatArray) -> FloatArray:
    """Angle (T,) [rad] between rotations (T, 3, 3) and another (3, 3)."""
    return np.asarray(np.linalg.norm(matrix_to_rotvec(rotations @ other.T), axis=-1))


def trim(path: str | Path, out: str | Path, rule: IdleRule) -> TrimReport:
    """Write ``path`` without its idle ends to ``out``, which may be the same file. Raises :class:`DataError` where nothing would remain."""
    taken: dict[str, tuple[int, int]] = {}
    left_out: list[str] = []
    renamed: dict[str, str] = {}
    rows = 0
    with open_demos(path) as file, new_demos(out) as new:
        data = new.create_group("data")
        for name in demo_names(file):
            demo = read_demo(file, name)
            first, end = idle_ends(demo, rule)
            if first == end:
                left_out.append(name)
                continue
            renamed[name] = f"demo_{len(renamed)}"
            if (first, end) != (0, demo.rows):
                taken[name] = (first, demo.rows - end)
            write_demo(data.create_group(renamed[name]), _cut(demo, first, end))
            rows += end - first
        if not renamed:
            raise DataError(f"{path}: every demonstration is idle throughout by this rule; nothing was written")
        data.attrs.update({**file["data"].attrs, "total": rows})
        masks = read_masks(file)
        write_masks(new, {split: [renamed[name] for name in members if name in renamed] for split, members in masks.items()})
    return TrimReport(Path(out), len(renamed), rows, taken, tuple(left_out))


def _cut(demo: Demo, first: int, end: int) -> Demo:
    """Rows [first, end); what does not come row by row (the streams' own stamps) stays whole."""
    if (first, end) == (0, demo.rows):
        return demo
    arrays = {}
    for path, array in demo.arrays.items():
        by_row = array.shape[:1] == (demo.rows,) and not path.startswith("streams/")
        arrays[path] = array[first:end] if by_row else array
    for path in ("dones", "rewards"):
        if path in arrays:
            # The last row says how the demonstration ended, wherever it is cut.
            values = np.array(arrays[path][:])
            values[-1] = demo.arrays[path][demo.rows - 1 : demo.rows][0]
            arrays[path] = values
    before, after = demo.attrs.get("trimmed_rows", (0, 0))
    trimmed = (int(before) + first, int(after) + demo.rows - end)
    return replace(demo, arrays=arrays, attrs={**demo.attrs, "num_samples": end - first, "trimmed_rows": trimmed})
