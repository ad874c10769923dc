"""The rules of robomimic's layout, and of ours on top of it, checked on a file of demonstrations."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np

_OBSERVATIONS = {"robot0_joint_pos": 7, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
_ACTION_PARTS = {"abs_pos": 3, "abs_rot_6d": 6, "gripper": 1, "joint_position": 7}
_UNIT_TOLERANCE = 1e-3


def validate(path: str | Path, image_key: str = "agentview_image") -> list[str]:
    """What is wrong with a file of demonstrations, one finding a line; empty where all is well."""
    try:
        with h5py.File(path, "r") as file:
            if "data" not in file:
                return ["data: missing"]
            return _check_file(file, image_key)
    except OSError as error:
        return [f"{path}: cannot be read: {error}"]


def _check_file(file: h5py.File, image_key: str) -> list[str]:
    data = file["data"]
    findings = [f"data/{name}: is no demo_<number>" for name in data if not re.fullmatch(r"demo_\d+", name)]
    demos = [name for name in data if re.fullmatch(r"demo_\d+", name)]
    if not demos:
        findings.append("data: holds no demonstration")
    for name in demos:
        findings += [f"data/{name}/{finding}" for finding in _check_demo(data[name], image_key)]
    total = sum(int(data[name].attrs.get("num_samples", 0)) for name in demos)
    if data.attrs.get("total") != total:
        findings.append(f"data: total is {data.attrs.get('total')}, the demonstrations have {total} samples")
    return findings + _check_environment(data) + _check_masks(file, set(demos))


def _check_environment(data: h5py.Group) -> list[str]:
    try:
        environment = json.loads(data.attrs["env_args"])
    except (KeyError, TypeError, json.JSONDecodeError):
        return ["data: env_args is missing or no JSON"]
    return [f"data: env_args has no {key}" for key in ("env_name", "type", "env_kwargs") if key not in environment]


def _check_masks(file: h5py.File, demos: set[str]) -> list[str]:
    findings: list[str] = []
    members: dict[str, set[str]] = {}
    for split in ("train", "valid"):
        mask = file.get(f"mask/{split}")
        if mask is None:
            findings.append(f"mask/{split}: missing")
        elif mask.dtype.kind != "S":
            findings.append(f"mask/{split}: holds {mask.dtype}, not fixed-length byte strings")
        else:
            members[split] = {name.decode() for name in mask[()]}
            findings += [f"mask/{split}: {name} is no demonstration" for name in sorted(members[split] - demos)]
    if len(members) == 2:
        if both := sorted(members["train"] & members["valid"]):
            findings.append(f"mask: {', '.join(both)} in both train and valid")
        if not members["train"]:
            findings.append("mask/train: is empty")
    return findings


def _check_demo(demo: h5py.Group, image_key: str) -> list[str]:
    count = demo.attrs.get("num_samples")
    if count is None or int(count) < 1:
        return [f"num_samples is {count}"]
    count = int(count)
    shapes: dict[str, tuple[int, ...]] = {"actions": (count, 7), "rewards": (count,), "dones": (count,), "states": (count, 14), "stamp_ns": (count,)}
    shapes |= {f"action_dict/{name}": (count, width) for name, width in _ACTION_PARTS.items()}
    shapes |= {f"obs/{name}": (count, width) for name, width in _OBSERVATIONS.items()}
    findings = [finding for name, shape in shapes.items() if (finding := _check_array(demo, name, shape))]
    findings += _check_image(demo, f"obs/{image_key}", count)
    return findings or _check_values(demo)


def _check_array(demo: h5py.Group, name: str, shape: tuple[int, ...]) -> str:
    if name not in demo:
        return f"{name}: missing"
    if demo[name].shape != shape:
        return f"{name}: shape {demo[name].shape}, expected {shape}"
    return "" if np.all(np.isfinite(demo[name][()])) else f"{name}: not finite"


def _check_image(demo: h5py.Group, name: str, count: int) -> list[str]:
    if name not in demo:
        return [f"{name}: missing"]
    images = demo[name]
    if images.ndim != 4 or images.shape[0] != count or images.shape[3] != 3 or images.dtype != np.uint8:
        return [f"{name}: {images.shape} {images.dtype}, expected ({count}, H, W, 3) uint8"]
    return []


def _check_values(demo: h5py.Group) -> list[str]:
    findings = [f"{name}: outside [-1, 1]" for name in ("actions", "action_dict/gripper") if np.abs(demo[name][()]).max() > 1.0]
    if np.any(np.diff(demo["stamp_ns"][()]) <= 0):
        findings.append("stamp_ns: does not ascend")
    if np.any(np.abs(np.linalg.norm(demo["obs/robot0_eef_quat"][()], axis=-1) - 1.0) > _UNIT_TOLERANCE):
        findings.append("obs/robot0_eef_quat: not of unit length")
    columns = demo["action_dict/abs_rot_6d"][()].reshape(-1, 2, 3)
    if np.any(np.abs(columns @ columns.swapaxes(-1, -2) - np.eye(2)) > _UNIT_TOLERANCE):
        findings.append("action_dict/abs_rot_6d: columns are not orthonormal")
    if "action_scale" not in demo.attrs or demo.attrs["action_scale"].shape != (7,):
        findings.append("action_scale: missing, or not of 7 numbers")
    return findings
