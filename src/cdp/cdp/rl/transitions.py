"""Offline data sets: transitions in memory, from HDF5 files in the layout of Minari (one group an episode) or of D4RL (flat arrays)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cdp.data.dataset import file_sha256
from cdp.data.durable import DurableFile

_EPISODE = re.compile(r"episode_(\d+)")


class TransitionsError(ValueError):
    """A data set that cannot be used; the message names the file, the part and what is wrong with it."""


@dataclass(frozen=True, eq=False)
class Transitions:
    """N transitions, and the undiscounted return and length of each of the E episodes that they come from.

    ``terminal`` is true where the task itself ended the episode, so that nothing follows; a time limit is no end in this sense.
    """

    observation: NDArray[np.float32]
    """(N, P)"""
    action: NDArray[np.float32]
    """(N, D), in the task's own unit"""
    reward: NDArray[np.float32]
    """(N,)"""
    next_observation: NDArray[np.float32]
    """(N, P)"""
    terminal: NDArray[np.bool_]
    """(N,)"""
    episode_returns: NDArray[np.float64]
    """(E,)"""
    episode_lengths: NDArray[np.int64]
    """(E,)"""
    layout: str
    sha256: str
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What the file's root says of how it was made, as plain numbers and texts; empty where it says nothing."""

    def __len__(self) -> int:
        return len(self.reward)


def read_transitions(path: str | Path) -> Transitions:
    """Read a file of either layout; which one is told from its root. Raises :class:`TransitionsError`.

    Minari: groups ``episode_<n>`` with ``observations`` (L + 1, P), ``actions`` (L, D), ``rewards``, ``terminations``, ``truncations`` (L,).
    D4RL: ``observations`` (N, P), ``actions`` (N, D), ``rewards``, ``terminals`` (N,), and ``timeouts`` (N,) and ``next_observations`` (N, P) where
    they were stored. Without the latter the next row of the same episode is the next observation, and a last row that did not end the task is
    dropped, as its successor is not in the file.
    """
    path = Path(path)
    try:
        sha256 = file_sha256(path)
        with h5py.File(path, "r") as file:
            names = _episode_names(file)
            if names:
                return replace(_minari(file, names, sha256), notes=_notes(file))
            if "observations" in file:
                return replace(_d4rl(file, sha256), notes=_notes(file))
            raise TransitionsError(f"neither Minari's episode_0 nor D4RL's observations is at its root, which holds {', '.join(file) or 'nothing'}")
    except TransitionsError as error:
        raise TransitionsError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise TransitionsError(f"{path}: no such file") from None
    except (OSError, RuntimeError, KeyError) as error:
        raise TransitionsError(f"{path}: not a whole HDF5 file: {error}") from error


def write_minari(path: Path, episodes: list[dict[str, NDArray[Any]]], attributes: dict[str, Any]) -> Path:
    """Write episodes of the five arrays of Minari's layout, whole or not at all; ``attributes`` go to the file's root. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = DurableFile(path)
    try:
        made.hdf5.attrs.update({"total_episodes": len(episodes), "total_steps": sum(len(e["rewards"]) for e in episodes), **attributes})
        for number, episode in enumerate(episodes):
            group = made.hdf5.create_group(f"episode_{number}")
            group.attrs.update({"id": number, "total_steps": len(episode["rewards"])})
            for name, values in episode.items():
                group.create_dataset(name, data=values, compression="gzip", shuffle=True)
        return made.commit()
    finally:
        made.discard()


def _episode_names(file: h5py.File) -> list[str]:
    found = {int(match[1]): name for name in file if (match := _EPISODE.fullmatch(name))}
    return [found[number] for number in sorted(found)]


def _notes(file: h5py.File) -> dict[str, Any]:
    """Attributes of the root, made plain."""
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in file.attrs.items() if not isinstance(value, bytes)}


def _minari(file: h5py.File, names: list[str], sha256: str) -> Transitions:
    promised = file.attrs.get("total_episodes")
    if promised is not None and int(promised) != len(names):
        raise TransitionsError(f"holds {len(names)} episodes and promises {int(promised)}")
    parts: list[tuple[NDArray[Any], ...]] = []
    for name in names:
        observations, actions = _array(file, f"{name}/observations", 2), _array(file, f"{name}/actions", 2)
        length = len(actions)
        rewards, ends, cuts = (_array(file, f"{name}/{key}", 1, length) for key in ("rewards", "terminations", "truncations"))
        if len(observations) != length + 1:
            raise TransitionsError(f"{name}/observations has {len(observations)} rows; {length} actions need {length + 1}")
        if not length:
            raise TransitionsError(f"{name} has no step")
        if np.any(ends[:-1]) or np.any(cuts[:-1]):
            raise TransitionsError(f"{name} goes on after its end: a termination or truncation stands before its last step")
        parts.append((observations[:-1], actions, rewards, observations[1:], ends))
    columns = [_joined([part[i] for part in parts], names, key) for i, key in enumerate(("observations", "actions", "rewards", "observations", ""))]
    return _transitions(columns, [float(part[2].sum()) for part in parts], [len(part[2]) for part in parts], "minari", sha256)


def _d4rl(file: h5py.File, sha256: str) -> Transitions:
    observations = _array(file, "observations", 2)
    rows = len(observations)
    if not rows:
        raise TransitionsError("observations has no row")
    actions = _array(file, "actions", 2, rows)
    rewards, terminals = _array(file, "rewards", 1, rows), _array(file, "terminals", 1, rows).astype(bool)
    timeouts = _array(file, "timeouts", 1, rows).astype(bool) if "timeouts" in file else np.zeros(rows, dtype=bool)
    last = terminals | timeouts
    last[-1] = True
    ends = np.flatnonzero(last) + 1
    starts = np.concatenate([[0], ends[:-1]])
    returns = [float(rewards[start:end].sum()) for start, end in zip(starts, ends, strict=True)]
    kept = np.ones(rows, dtype=bool)
    if "next_observations" in file:
        following = _array(file, "next_observations", 2, rows)
        if following.shape != observations.shape:
            raise TransitionsError(f"next_observations has shape {following.shape}, observations {observations.shape}")
    else:
        following = np.concatenate([observations[1:], observations[-1:]])
        kept = ~last | terminals
        if not kept.any():
            raise TransitionsError("no row has a successor: there is no next_observations, and every episode is one row long")
    columns = [column[kept] for column in (observations, actions, rewards, following, terminals)]
    return _transitions(columns, returns, (ends - starts).tolist(), "d4rl", sha256)


def _array(file: h5py.File, key: str, ndim: int, rows: int | None = None) -> NDArray[Any]:
    if key not in file:
        raise TransitionsError(f"{key} is missing")
    stored = file[key]
    if not isinstance(stored, h5py.Dataset):
        raise TransitionsError(f"{key} is a group; only plain vectors are read, not dictionaries or tuples")
    try:
        values = np.asarray(stored[()])
    except (OSError, RuntimeError) as error:
        raise TransitionsError(f"{key} cannot be read: {error}") from error
    if values.ndim == ndim + 1 == 2 and values.shape[1] == 1:
        # Some files store one number a step as a column.
        values = values[:, 0]
    if values.ndim != ndim or values.dtype.kind not in "fiub":
        raise TransitionsError(f"{key} is {values.dtype} of shape {values.shape}; numbers in {ndim} dimensions are needed")
    if rows is not None and len(values) != rows:
        raise TransitionsError(f"{key} has {len(values)} rows, not {rows}")
    if values.dtype.kind == "f" and not np.all(np.isfinite(values)):
        raise TransitionsError(f"{key} holds values that are not finite, the first in row {int(np.argwhere(~np.isfinite(values))[0][0])}")
    return values


def _joined(arrays: list[NDArray[Any]], names: list[str], key: str) -> NDArray[Any]:
    for array, name in zip(arrays, names, strict=True):
        if array.shape[1:] != arrays[0].shape[1:]:
            raise TransitionsError(f"{name}/{key} has width {array.shape[1]}, {names[0]}/{key} has {arrays[0].shape[1]}")
    return np.concatenate(arrays)


def _transitions(columns: list[NDArray[Any]], returns: list[float], lengths: list[int], layout: str, sha256: str) -> Transitions:
    observation, action, reward, following, terminal = columns
    return Transitions(
        observation.astype(np.float32),
        action.astype(np.float32),
        reward.astype(np.float32),
        following.astype(np.float32),
        terminal.astype(bool),
        np.array(returns),
        np.array(lengths),
        layout,
        sha256,
    )
