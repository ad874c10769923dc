"""robomimic's own files into our layout, and ours as its tools like them best: one plain file, with ``next_obs`` where asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cdp.data.demos import DataError, Demo, Rows, demo_names, open_demos, read_all, read_demo, read_masks
from cdp.data.foreign import ConvertReport, Source, write_source
from cdp.data.merge import merge
from cdp.geometry import FloatArray, matrix_to_rot6d, quat_to_matrix, rotvec_to_matrix

_OSC_ACTION_WIDTH = 7


class _Next:
    """Rows of an array one later each; the last one stays, as what came after it was not recorded."""

    def __init__(self, array: Rows) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: slice) -> Any:
        count = self.shape[0]
        first, end, _ = key.indices(count)
        rows = np.asarray(self._array[first : min(end + 1, count)])
        return np.concatenate([rows[1:], rows[-1:]]) if end == count else rows[1:]


def to_robomimic(path: str | Path, out: str | Path, next_obs: bool = False) -> ConvertReport:
    """One plain file without links, with ``next_obs`` where asked for. Raises :class:`DataError`."""
    if not next_obs:
        report = merge([path], out)
        return ConvertReport(report.path, report.demos, report.rows, ())
    with open_demos(path) as file:
        demos = [_with_next(read_demo(file, name)) for name in demo_names(file)]
        source = Source(demos, dict(file["data"].attrs), _renumbered(file))
        return write_source(source, out, float(file["data"].attrs.get("rate_hz", 0.0)))


def from_robomimic(path: str | Path, out: str | Path, rate_hz: float | None = None) -> ConvertReport:
    """A file of robomimic in our layout: the same arrays, and what ours has beyond it where it follows from them. Raises :class:`DataError`.

    The rate is what the environment says (``control_freq``) unless given. Absolute targets follow for robosuite's OSC_POSE controller with deltas: it
    adds the action, times the controller's ``output_max``, to the measured pose.
    """
    with open_demos(path) as file:
        attrs = dict(file["data"].attrs)
        environment = json.loads(attrs.get("env_args", "{}")).get("env_kwargs", {})
        rate_hz = rate_hz or attrs.get("rate_hz") or environment.get("control_freq")
        if rate_hz is None:
            raise DataError(f"{path}: says no rate: give --rate")
        scale = _osc_scale(environment.get("controller_configs", {}))
        notes, demos = [], [read_demo(file, name) for name in demo_names(file)]
        if all("action_dict/abs_pos" in demo.arrays for demo in demos):
            pass
        elif scale is None or not all(_has_pose(demo) for demo in demos):
            notes.append("absolute targets (action_dict) are absent and do not follow from the file: they need OSC_POSE deltas and measured poses")
        else:
            demos = [_with_targets(demo, scale) for demo in demos]
            notes.append("absolute targets follow from OSC_POSE deltas and measured poses, in the frame of the file's poses")
        if missing := [key for key in ("robot0_joint_pos", "robot0_gripper_qpos") if any(f"obs/{key}" not in demo.arrays for demo in demos)]:
            notes.append(f"observations {', '.join(missing)}: absent")
        return write_source(Source(demos, attrs, _renumbered(file), notes), out, float(rate_hz))


def _renumbered(file: h5py.File) -> dict[str, list[str]]:
    new = {name: f"demo_{i}" for i, name in enumerate(demo_names(file))}
    return {split: [new[name] for name in members if name in new] for split, members in read_masks(file).items()}


def _with_next(demo: Demo) -> Demo:
    seen = {path: array for path, array in demo.arrays.items() if path.startswith("obs/")}
    return Demo({**demo.arrays, **{f"next_{path}": _Next(array) for path, array in seen.items()}}, demo.attrs, demo.array_attrs)


def _osc_scale(controller: Any) -> FloatArray | None:
    if not isinstance(controller, dict) or controller.get("type") != "OSC_POSE" or not controller.get("control_delta", True):
        return None
    return np.broadcast_to(np.asarray(controller.get("output_max", [0.05] * 3 + [0.5] * 3), dtype=np.float64), (6,))


def _has_pose(demo: Demo) -> bool:
    return {"obs/robot0_eef_pos", "obs/robot0_eef_quat"} <= demo.arrays.keys() and demo.arrays["actions"].shape[1:] == (_OSC_ACTION_WIDTH,)


def _with_targets(demo: Demo, scale: FloatArray) -> Demo:
    actions = read_all(demo, "actions").astype(np.float64)
    measured = quat_to_matrix(read_all(demo, "obs/robot0_eef_quat"))
    deltas = actions[:, :6] * scale
    targets: dict[str, Rows] = {
        "action_dict/abs_pos": read_all(demo, "obs/robot0_eef_pos") + deltas[:, :3],
        "action_dict/abs_rot_6d": matrix_to_rot6d(rotvec_to_matrix(deltas[:, 3:]) @ measured),
        "action_dict/gripper": actions[:, 6:],
    }
    if "obs/robot0_joint_pos" in demo.arrays:
        joints = read_all(demo, "obs/robot0_joint_pos")
        targets["action_dict/joint_position"] = np.concatenate([joints[1:], joints[-1:]])
    return Demo({**demo.arrays, **targets}, {**demo.attrs, "action_scale": np.concatenate([scale, [1.0]])}, demo.array_attrs)
