"""Several files of demonstrations in one, or one that links to its parts as a single file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cdp.data.demos import DataError, demo_names, new_demos, open_demos, read_demo, read_masks, write_masks


@dataclass(frozen=True)
class MergeReport:
    """What was written; ``rescaled`` tells whether ``actions`` had to be brought to one scale."""

    path: Path
    demos: int
    rows: int
    rescaled: bool


def merge(paths: Sequence[str | Path], out: str | Path) -> MergeReport:
    """Write the demonstrations of ``paths``, numbered anew in their order, with their masks, to ``out``; links become data.

    Files agree in rate and in the observations they hold. ``actions`` that were scaled differently get the largest scale, so that they stay in
    [-1, 1]; the absolute ones beside them are copied as they are. Raises :class:`DataError`, also for an episode that would be in it twice.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(open_demos(path)) for path in paths]
        sources = [(file, name) for file in files for name in demo_names(file)]
        _refuse_unlike(sources)
        _refuse_twice(sources)
        scale = _scale(sources)
        masks: dict[str, list[str]] = {}
        rows, rescaled = 0, False
        with new_demos(out) as new:
            data = new.create_group("data")
            for index, (file, name) in enumerate(sources):
                # Follows links, and copies pictures without unpacking them.
                file.copy(file["data"][name], data, name=f"demo_{index}", expand_external=True)
                rescaled |= _rescale(data[f"demo_{index}"], scale)
                rows += int(data[f"demo_{index}"].attrs["num_samples"])
            for renamed, members in _masks(files):
                masks.setdefault(renamed, []).extend(members)
            write_masks(new, masks)
            data.attrs.update(_file_attrs(files, rows))
    return MergeReport(Path(out), len(sources), rows, rescaled)


def _refuse_unlike(sources: Sequence[tuple[h5py.File, str]]) -> None:
    first: dict[str, Any] | None = None
    for file, name in sources:
        demo = read_demo(file, name)
        found: dict[str, Any] = {path: array.shape[1:] for path, array in demo.arrays.items() if path.startswith(("obs/", "next_obs/"))}
        found["actions"] = demo.arrays["actions"].shape[1:] if "actions" in demo.arrays else None
        found["rate_hz"] = file["data"].attrs.get("rate_hz")
        first = first or found
        for key in first.keys() | found.keys():
            if first.get(key) != found.get(key):
                unlike = f"{key} is {found.get(key)}, in the first demonstration {first.get(key)}"
                raise DataError(f"{file.filename}: {name}: {unlike}; nothing was written")


def _refuse_twice(sources: Sequence[tuple[h5py.File, str]]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for file, name in sources:
        demo = file["data"][name]
        if "episode_file" not in demo.attrs:
            continue
        # A name alone may come from two robots. Stamps are no witness: a trimmed copy begins later.
        key = tuple(str(demo.attrs.get(name)) for name in ("episode_file", "operator", "task", "seed"))
        where = f"{file.filename}: {name}"
        if key in seen:
            raise DataError(f"{where} is the episode {key[0]}, and so is {seen[key]}: it could train and validate at once; nothing was written")
        seen[key] = where


def _scale(sources: Sequence[tuple[h5py.File, str]]) -> Any:
    scales = [file["data"][name].attrs.get("action_scale") for file, name in sources]
    known = [np.asarray(scale) for scale in scales if scale is not None]
    if known and len(known) < len(scales):
        raise DataError("some demonstrations say their action_scale and some do not: their actions cannot stand side by side; nothing was written")
    return np.max(known, axis=0) if known else None


def _rescale(demo: h5py.Group, scale: Any) -> bool:
    if scale is None or np.array_equal(demo.attrs["action_scale"], scale):
        return False
    actions = demo["actions"]
    actions[...] = np.clip(actions[()] * (demo.attrs["action_scale"] / scale), -1.0, 1.0)
    demo.attrs["action_scale"] = scale
    return True


def _masks(files: Sequence[h5py.File]) -> list[tuple[str, list[str]]]:
    found, first = [], 0
    for file in files:
        names = demo_names(file)
        new = {name: f"demo_{first + i}" for i, name in enumerate(names)}
        masks = read_masks(file) or {"train": names, "valid": []}
        found += [(split, [new[name] for name in members]) for split, members in masks.items()]
        first += len(names)
    return found


def _file_attrs(files: Sequence[h5py.File], rows: int) -> dict[str, Any]:
    attrs = dict(files[0]["data"].attrs)
    environments = [json.loads(file["data"].attrs["env_args"]) for file in files if "env_args" in file["data"].attrs]
    if environments:
        names = dict.fromkeys(name for environment in environments for name in str(environment["env_name"]).split("+"))
        attrs["env_args"] = json.dumps({**environments[0], "env_name": "+".join(names)})
    return {**attrs, "total": rows}
