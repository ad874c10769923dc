"""The rules of robomimic's layout, and of ours on top of it, checked on a file of demonstrations: what lies outside the demonstrations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from cdp.data.demos import DEMO_NAME, demo_names
from cdp.data.validate_demo import Finding, Layout, check_demo

CAMERAS = ("agentview_image",)


@dataclass(frozen=True)
class Rule:
    """What :func:`check` holds a file to: a name for findings, and the rule in words."""

    name: str
    text: str


RULES = tuple(
    Rule(*words)
    for words in (
        ("file", "the file opens and has the group data"),
        ("demo-names", "under data/ there is nothing but demo_<number>, and at least one"),
        ("total", "the attribute total is the sum of num_samples"),
        ("env-args", "the attribute env_args is JSON with env_name, type and env_kwargs"),
        ("rate", "the attribute rate_hz is above 0"),
        ("masks", "mask/train and mask/valid are fixed-length byte strings, each member a demonstration, once, and in one of them only"),
        ("num-samples", "num_samples counts the rows, at least one"),
        ("links", "a linked part of a demonstration can be opened"),
        ("present", "every array of the layout is there"),
        ("shape", "each array has one row for each sample, and its width"),
        ("type", "actions and observations are numbers, pictures uint8"),
        ("finite", "no number is NaN or infinite"),
        ("actions", "actions and the gripper lie in [-1, 1]: robomimic's tools refuse others"),
        ("scale", "action_scale, that turns actions into metres and radians, has 7 positive numbers, the same in every demonstration"),
        ("same-keys", "every demonstration has the observations of the first, of the same widths and sizes"),
        ("next-obs", "next_obs, where it is, has the keys and rows of obs"),
        ("dones", "dones are 0, and 1 in the last row"),
        ("stamps", "stamp_ns ascends"),
        ("gaps", "no two rows are further apart than 1.5 periods"),
        ("quaternion", "quaternions are of unit length"),
        ("rotation", "the columns of 6-D rotations are orthonormal"),
        ("provenance", "success, operator, task, seed and episode_file say where a demonstration comes from"),
    )
)


def check(path: str | Path, cameras: Sequence[str] = CAMERAS) -> list[Finding]:
    """What is wrong with a file of demonstrations, by rule; empty where all is well. ``cameras`` are the pictures that each must have."""
    try:
        with h5py.File(path, "r") as file:
            if "data" not in file:
                return [Finding("file", "data", "missing")]
            return _check_file(file, cameras)
    except OSError as error:
        return [Finding("file", str(path), f"cannot be read: {error}")]


def validate(path: str | Path, cameras: Sequence[str] = CAMERAS) -> list[str]:
    """:func:`check`, one finding a line."""
    return [str(finding) for finding in check(path, cameras)]


def _check_file(file: h5py.File, cameras: Sequence[str]) -> list[Finding]:
    data = file["data"]
    findings = [Finding("demo-names", f"data/{name}", "is no demo_<number>") for name in data if not DEMO_NAME.fullmatch(name)]
    demos = demo_names(file)
    if not demos:
        findings.append(Finding("demo-names", "data", "holds no demonstration"))
    layout = Layout(tuple(cameras), _rate_hz(data))
    for name in demos:
        findings += check_demo(data, name, layout)
    total = sum(int(data[name].attrs.get("num_samples", 0)) for name in demos)
    if data.attrs.get("total") != total:
        findings.append(Finding("total", "data", f"total is {data.attrs.get('total')}, the demonstrations have {total} samples"))
    if layout.rate_hz is None:
        findings.append(Finding("rate", "data", f"rate_hz is {data.attrs.get('rate_hz')}"))
    return findings + _check_environment(data) + _check_masks(file, set(demos))


def _rate_hz(data: h5py.Group) -> float | None:
    try:
        rate_hz = float(data.attrs["rate_hz"])
    except (KeyError, TypeError, ValueError):
        return None
    return rate_hz if rate_hz > 0.0 else None


def _check_environment(data: h5py.Group) -> list[Finding]:
    try:
        environment = json.loads(data.attrs["env_args"])
    except (KeyError, TypeError, json.JSONDecodeError):
        environment = None
    if not isinstance(environment, dict):
        return [Finding("env-args", "data", "env_args is missing or no JSON object")]
    kinds = (("env_name", str), ("type", int), ("env_kwargs", dict))
    return [Finding("env-args", "data", f"env_args has no {key}") for key, kind in kinds if not isinstance(environment.get(key), kind)]


def _check_masks(file: h5py.File, demos: set[str]) -> list[Finding]:
    findings: list[Finding] = []
    members: dict[str, set[str]] = {}
    for split in dict.fromkeys(("train", "valid", *file.get("mask", ()))):
        where = f"mask/{split}"
        mask = file.get(where)
        if mask is None:
            findings.append(Finding("masks", where, "missing"))
        elif mask.dtype.kind != "S":
            findings.append(Finding("masks", where, f"holds {mask.dtype}, not fixed-length byte strings"))
        else:
            counts = Counter(name.decode() for name in mask[()])
            members[split] = set(counts)
            findings += [Finding("masks", where, f"{name} is no demonstration") for name in sorted(members[split] - demos)]
            findings += [Finding("masks", where, f"{name} is in it {count} times") for name, count in counts.items() if count > 1]
    if "train" in members and "valid" in members:
        if both := sorted(members["train"] & members["valid"]):
            findings.append(Finding("masks", "mask", f"{', '.join(both)} in both train and valid"))
        if not members["train"]:
            findings.append(Finding("masks", "mask/train", "is empty"))
    return findings
