"""Replaying a demonstration, without ROS: its actions, the way from where the arm is to where it began, and how well it was followed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.actions import GRIPPER, POSITION, ROT6D, gripper_to_width_m
from cdp.config import setting
from cdp.data.demos import DataError, demo_names, open_demos, read_all, read_demo
from cdp.data.spec import NS_PER_S
from cdp.geometry import FloatArray, matrix_to_rot6d, matrix_to_rotvec, quat_to_matrix, rot6d_to_matrix, rotvec_to_matrix


@dataclass(frozen=True)
class ReplayConfig:
    """What to replay and how to get to its start."""

    file: str = setting("data/slide/demos.hdf5", help="file of demonstrations")
    demo: str = setting("demo_0", help="demonstration to replay")
    output: str = setting("runs/replay", help="folder for results.json")
    reset: bool = setting(True, help="simulation: put the scene where the demonstration's seed puts it, first")
    engage: bool = setting(True, help="engage the guard; false waits until someone else has")
    approach_speed_m_s: float = setting(0.1, low=0.005, high=0.5, help="speed on the way to the demonstration's first target [m/s]")
    approach_turn_rad_s: float = setting(0.5, low=0.02, high=2.0, help="turning speed on that way [rad/s]")
    settle_s: float = setting(2.0, low=0.0, high=60.0, help="time that the last target is held, for the task to be judged [s]")
    reliable: bool = setting(False, help="subscribe to the robot's state reliably instead of best effort")


@dataclass(frozen=True)
class Recording:
    """Action rows (T, 10), measured positions (T, 3) and quaternions (T, 4) xyzw at stamps (T,), at a rate; the scene's seed where it is known."""

    name: str
    rows: FloatArray
    positions_m: FloatArray
    quats: FloatArray
    stamp_ns: NDArray[np.int64]
    rate_hz: float
    seed: int | None
    task: str


def load_recording(path: str | Path, name: str) -> Recording:
    """A demonstration to replay. Raises :class:`cdp.data.demos.DataError` where it is not there or lacks absolute targets or stamps."""
    with open_demos(path) as file:
        if name not in demo_names(file):
            raise DataError(f"{path}: has no {name}; it has demo_0 to {demo_names(file)[-1]}")
        demo = read_demo(file, name)
        width_m = gripper_to_width_m(read_all(demo, "action_dict/gripper"))
        rows = np.concatenate([read_all(demo, "action_dict/abs_pos"), read_all(demo, "action_dict/abs_rot_6d"), width_m], axis=-1)
        if "rate_hz" not in file["data"].attrs:
            raise DataError(f"{path}: says no rate_hz: its actions have no time")
        return Recording(
            name,
            rows,
            read_all(demo, "obs/robot0_eef_pos"),
            read_all(demo, "obs/robot0_eef_quat"),
            read_all(demo, "stamp_ns"),
            float(file["data"].attrs["rate_hz"]),
            int(demo.attrs["seed"]) if "seed" in demo.attrs else None,
            str(demo.attrs.get("task", "")),
        )


def approach(start: FloatArray, goal: FloatArray, dt_s: float, speed_m_s: float, turn_rad_s: float) -> FloatArray:
    """Rows (N, 10) from the row ``start`` (10,), which is not among them, to ``goal``, which is the last.

    Straight and turning evenly, no faster than ``speed_m_s`` and ``turn_rad_s``.
    None (0, 10) where they are the same. The gripper takes the goal's width from the first row on.
    """
    first = rot6d_to_matrix(start[ROT6D])
    turn = matrix_to_rotvec(rot6d_to_matrix(goal[ROT6D]) @ first.T)
    way = goal[POSITION] - start[POSITION]
    count = int(np.ceil(max(np.linalg.norm(way) / speed_m_s, np.linalg.norm(turn) / turn_rad_s) / dt_s - 1e-9))
    rows = np.empty((count, len(goal)))
    for k in range(count):
        part = (k + 1) / count
        rows[k, POSITION] = start[POSITION] + part * way
        rows[k, ROT6D] = matrix_to_rot6d(rotvec_to_matrix(part * turn) @ first)
    rows[:, GRIPPER] = goal[GRIPPER]
    return rows


def tracking(recording: Recording, begin_ns: int, stamp_ns: NDArray[np.int64], poses: FloatArray) -> dict[str, Any]:
    """How far the arm, at poses (N, 7: x y z qx qy qz qw) with ascending stamps (N,), was from where it was in the recording.

    Row k of the recording is compared at ``begin_ns`` plus its time since row 0. Position errors in mm, rotation errors in rad: rms, greatest, last.
    """
    times = begin_ns + (recording.stamp_ns - recording.stamp_ns[0])
    seen = (times >= stamp_ns[0]) & (times <= stamp_ns[-1]) if len(stamp_ns) else np.zeros(len(times), dtype=bool)
    if not seen.any():
        return {"rows_compared": 0}
    offsets = (stamp_ns - begin_ns).astype(np.float64)
    at = (times - begin_ns)[seen].astype(np.float64)
    positions = np.stack([np.interp(at, offsets, poses[:, d]) for d in range(3)], axis=-1)
    nearest = np.abs(offsets[None, :] - at[:, None]).argmin(axis=1)
    turns = quat_to_matrix(poses[nearest, 3:]) @ np.swapaxes(quat_to_matrix(recording.quats[seen]), -1, -2)
    position_mm = 1000.0 * np.linalg.norm(positions - recording.positions_m[seen], axis=-1)
    return {
        "rows_compared": int(seen.sum()),
        "position_error_mm": _spread(position_mm),
        "rotation_error_rad": _spread(np.linalg.norm(matrix_to_rotvec(turns), axis=-1)),
    }


def _spread(errors: FloatArray) -> dict[str, float]:
    return {"rms": float(np.sqrt(np.mean(errors**2))), "max": float(errors.max()), "last": float(errors[-1])}


def step_at(due_ns: int, begin_ns: int, dt_s: float) -> int:
    """Which row is due: by time, so that a late call costs its row and not the phase."""
    return round((due_ns - begin_ns) / (dt_s * NS_PER_S))
