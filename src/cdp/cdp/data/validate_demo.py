"""The rules that each demonstration keeps; :mod:`cdp.data.validate` names them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from cdp.data.spec import MAX_GAP_PERIODS, NS_PER_S

_OBSERVATIONS = {"robot0_joint_pos": 7, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
_ACTION_PARTS = {"abs_pos": 3, "abs_rot_6d": 6, "gripper": 1, "joint_position": 7}
_ACTION_WIDTH = 7
_PROVENANCE = ("success", "operator", "task", "seed", "episode_file")
_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Finding:
    """One breach of a rule, and where; as text, one line."""

    rule: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text} [{self.rule}]"


@dataclass
class Layout:
    """What every demonstration of a file has in common; the first sound one says which observations and which scale those are."""

    cameras: tuple[str, ...]
    rate_hz: float | None
    observations: dict[str, tuple[int, ...]] = field(default_factory=dict)
    scale: list[float] = field(default_factory=list)


def check_demo(data: h5py.Group, name: str, layout: Layout) -> list[Finding]:
    """Breaches in ``data/<name>``. Numbers are looked at only where every array has its shape."""
    demo = data[name]
    where = f"data/{name}"
    count = demo.attrs.get("num_samples")
    if not isinstance(count, (int, np.integer)) or count < 1:
        return [Finding("num-samples", where, f"num_samples is {count}")]
    findings = [Finding(rule, f"{where}/{part}", text) for rule, part, text in _arrays(demo, int(count), layout)]
    if not findings:
        findings = [Finding(rule, f"{where}/{part}", text) for rule, part, text in _values(demo, layout)]
    missing = [key for key in _PROVENANCE if key not in demo.attrs]
    if missing:
        findings.append(Finding("provenance", where, f"says no {', '.join(missing)}"))
    return findings


Breach = tuple[str, str, str]


def _arrays(demo: h5py.Group, count: int, layout: Layout) -> Iterator[Breach]:
    widths: dict[str, tuple[int, ...]] = {"actions": (_ACTION_WIDTH,), "rewards": (), "dones": (), "stamp_ns": ()}
    widths |= {f"action_dict/{name}": (width,) for name, width in _ACTION_PARTS.items()}
    widths |= {f"obs/{name}": (width,) for name, width in _OBSERVATIONS.items()}
    for part, width in widths.items():
        yield from _array(demo, part, (count, *width))
    for part in ("states", *(f"obs/{camera}" for camera in layout.cameras)):
        array, breach = _opened(demo, part)
        if breach:
            yield breach
        elif part == "states" and (array.ndim != 2 or array.shape[0] != count):
            yield "shape", part, f"shape {array.shape}, expected ({count}, S)"
    yield from _observations(demo, count, layout)
    yield from _next_observations(demo, count)


def _opened(demo: h5py.Group, part: str) -> tuple[Any, Breach | None]:
    group, _, key = part.rpartition("/")
    try:
        # A link whose file is gone is not absent, it fails when it is opened.
        holder = demo[group] if group else demo
        link = holder.get(key, getlink=True)
    except KeyError:
        links = isinstance(demo.get(group, getlink=True), h5py.ExternalLink)
        return None, (("links", group, "linked file cannot be opened") if links else ("present", part, "missing"))
    if link is None:
        return None, ("present", part, "missing")
    try:
        return holder[key], None
    except (KeyError, OSError):
        return None, ("links", part, f"links to {getattr(link, 'filename', link)}, which cannot be opened")


def _array(demo: h5py.Group, part: str, shape: tuple[int, ...]) -> Iterator[Breach]:
    array, breach = _opened(demo, part)
    if breach:
        yield breach
    elif array.shape != shape:
        yield "shape", part, f"shape {array.shape}, expected {shape}"
    elif array.dtype.kind not in "fiub":
        yield "type", part, f"holds {array.dtype}, not numbers"


def _observations(demo: h5py.Group, count: int, layout: Layout) -> Iterator[Breach]:
    try:
        obs = {key: demo["obs"][key] for key in demo["obs"]}
    except (KeyError, OSError):
        return  # already reported as absent or as a broken link
    for key, array in obs.items():
        if key not in _OBSERVATIONS and (array.ndim < 1 or array.shape[0] != count):
            yield "shape", f"obs/{key}", f"shape {array.shape}, expected {count} rows"
        if (array.ndim == 4 or key in layout.cameras) and (array.ndim != 4 or array.shape[-1] != 3):
            yield "shape", f"obs/{key}", f"shape {array.shape}, expected ({count}, H, W, 3)"
        elif array.ndim == 4 and array.dtype != np.uint8:
            yield "type", f"obs/{key}", f"holds {array.dtype}, not uint8"
    widths = {key: tuple(array.shape[1:]) for key, array in obs.items()}
    layout.observations = layout.observations or widths
    for key in sorted(set(widths) | set(layout.observations)):
        if key in _OBSERVATIONS or (key in layout.cameras and key not in widths):
            continue  # its own rule speaks
        if widths.get(key) != layout.observations.get(key):
            yield "same-keys", f"obs/{key}", f"{_said(widths.get(key))} here, {_said(layout.observations.get(key))} in the first demonstration"


def _said(width: tuple[int, ...] | None) -> str:
    return "absent" if width is None else f"of {'x'.join(map(str, width)) or 'one number'}"


def _next_observations(demo: h5py.Group, count: int) -> Iterator[Breach]:
    if "next_obs" not in demo or "obs" not in demo:
        return
    if set(demo["next_obs"]) != set(demo["obs"]):
        yield "next-obs", "next_obs", f"has {', '.join(sorted(demo['next_obs']))}, obs has {', '.join(sorted(demo['obs']))}"
    for key, array in demo["next_obs"].items():
        if array.shape[:1] != (count,):
            yield "next-obs", f"next_obs/{key}", f"shape {array.shape}, expected {count} rows"


def _values(demo: h5py.Group, layout: Layout) -> Iterator[Breach]:
    numbers = ["actions", "rewards", "states", *(f"{g}/{key}" for g in ("action_dict", "obs") for key in demo[g] if demo[g][key].ndim < 4)]
    bad = [part for part in numbers if not np.all(np.isfinite(demo[part][()]))]
    yield from (("finite", part, "not finite") for part in bad)
    if bad:
        return
    for part in ("actions", "action_dict/gripper"):
        if np.abs(demo[part][()]).max() > 1.0:
            yield "actions", part, "outside [-1, 1]"
    dones = demo["dones"][()]
    if dones[-1] != 1 or np.any(dones[:-1] != 0):
        yield "dones", "dones", "are not 0 and 1 in the last row"
    steps_ns = np.diff(demo["stamp_ns"][()].astype(np.int64))
    if np.any(steps_ns <= 0):
        yield "stamps", "stamp_ns", f"does not ascend after row {int(np.argmax(steps_ns <= 0))}"
    elif layout.rate_hz is not None and np.any(steps_ns > MAX_GAP_PERIODS * NS_PER_S / layout.rate_hz):
        row = int(np.argmax(steps_ns))
        yield "gaps", "stamp_ns", f"{steps_ns[row] / NS_PER_S:.3f} s from row {row} to the next, at {layout.rate_hz:g} Hz"
    if np.any(np.abs(np.linalg.norm(demo["obs/robot0_eef_quat"][()], axis=-1) - 1.0) > _UNIT_TOLERANCE):
        yield "quaternion", "obs/robot0_eef_quat", "not of unit length"
    columns = demo["action_dict/abs_rot_6d"][()].reshape(-1, 2, 3)
    if np.any(np.abs(columns @ columns.swapaxes(-1, -2) - np.eye(2)) > _UNIT_TOLERANCE):
        yield "rotation", "action_dict/abs_rot_6d", "columns are not orthonormal"
    yield from _scale(demo, layout)


def _scale(demo: h5py.Group, layout: Layout) -> Iterator[Breach]:
    scale = np.asarray(demo.attrs.get("action_scale", ()), dtype=np.float64)
    if scale.shape != (_ACTION_WIDTH,) or not np.all(scale > 0.0):
        yield "scale", "action_scale", f"missing, or not {_ACTION_WIDTH} positive numbers"
        return
    layout.scale = layout.scale or scale.tolist()
    if scale.tolist() != layout.scale:
        yield "scale", "action_scale", "differs from that of the first demonstration"
