"""Which demonstrations train and which validate: drawn one by one, or whole operators, days, tasks or seeds held out together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cdp.data.demos import DataError, demo_names, new_demos, open_demos, read_masks, write_masks
from cdp.data.spec import NS_PER_S

GROUPINGS = ("operator", "date", "task", "seed")
_DAY_IN_NAME = re.compile(r"_(\d{4})(\d\d)(\d\d)T\d{6}Z_")


def draw_split(count: int, valid_fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the train and the valid members of ``count``; at least one of each where a share is asked for and two are there."""
    if not 0.0 <= valid_fraction < 1.0:
        raise DataError(f"valid_fraction: {valid_fraction} is outside [0, 1)")
    valid = min(count - 1, max(1, round(valid_fraction * count))) if valid_fraction > 0 else 0
    order = np.random.default_rng(seed).permutation(count)
    return sorted(map(int, order[valid:])), sorted(map(int, order[:valid]))


def hold_out(groups: Sequence[str], valid_fraction: float, seed: int, held: Sequence[str] = ()) -> tuple[list[int], list[int]]:
    """Indices of train and valid where members of one group (N,) stay together.

    ``held`` names the groups that validate; else groups are drawn by ``seed`` until they hold at least ``valid_fraction`` of the members, and one
    always trains. Raises :class:`DataError` where no group would train, or a held one is not there.
    """
    kinds = sorted(set(groups))
    if absent := sorted(set(held) - set(kinds)):
        raise DataError(f"{', '.join(absent)}: no demonstration is of it; there are {', '.join(kinds)}")
    valid = set(held)
    if not held:
        wanted = valid_fraction * len(groups)
        for kind in np.random.default_rng(seed).permutation(kinds):
            if sum(group in valid for group in groups) < wanted:
                valid.add(str(kind))
    if len(valid) == len(kinds):
        raise DataError(f"nothing would be left to train on: all demonstrations are of {', '.join(kinds)}; hold out fewer, or split without --by")
    return [i for i, group in enumerate(groups) if group not in valid], [i for i, group in enumerate(groups) if group in valid]


def split(
    path: str | Path, out: str | Path, valid_fraction: float, seed: int, by: str | None = None, held: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Write ``path`` with new masks to ``out``, which may be the same file; returns the members of each mask. Raises :class:`DataError`."""
    with open_demos(path) as file:
        names = demo_names(file)
        if by is None:
            parts = draw_split(len(names), valid_fraction, seed)
        else:
            parts = hold_out([_group(file["data"][name].attrs, file["data"][name], by) for name in names], valid_fraction, seed, held)
        masks = {**read_masks(file), "train": [names[i] for i in parts[0]], "valid": [names[i] for i in parts[1]]}
        with new_demos(out) as new:
            # Links stay links: the name in them is relative to the file's folder.
            if Path(out).resolve().parent != Path(path).resolve().parent and _has_links(file["data"]):
                raise DataError(f"{path}: links to files beside it; write to its own folder, or `cdp data merge` it first")
            file.copy(file["data"], new)
            write_masks(new, masks)
    return masks


def _has_links(data: h5py.Group) -> bool:
    return any(isinstance(data[name].get(key, getlink=True), h5py.ExternalLink) for name in data for key in data[name])


def _group(attrs: Mapping[str, Any], demo: h5py.Group, by: str) -> str:
    if by != "date":
        if by not in attrs:
            raise DataError(f"{demo.file.filename}: {demo.name} does not say its {by}")
        return str(attrs[by])
    if named := _DAY_IN_NAME.search(str(attrs.get("episode_file", ""))):
        return "-".join(named.groups())
    if "stamp_ns" not in demo:
        raise DataError(f"{demo.file.filename}: {demo.name} says neither an episode's name with its day nor stamps")
    return datetime.fromtimestamp(int(demo["stamp_ns"][0]) / NS_PER_S, tz=timezone.utc).strftime("%Y-%m-%d")
