"""Collected demonstrations in memory, as the windows that training draws: observations To long, actions T long."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdp.data.normalise import MinMax, Stats
from cdp.data.preprocess import lowdim_rows, resize_image
from cdp.data.spec import LOWDIM_SOURCES, ObservationSpec
from cdp.geometry import FloatArray

# Parts of one action row, in their order in the policy's output: 3 + 6 + 1 numbers.
ACTION_KEYS = ("abs_pos", "abs_rot_6d", "gripper")
_STORED_LOWDIM = ("robot0_joint_pos", "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
_READ_BYTES = 1 << 20


class DatasetError(ValueError):
    """A demonstration file that cannot be used; the message names the file and the part."""


class Batch(TypedDict):
    """Training windows: image (B, To, S, S, 3) uint8, lowdim (B, To, P) and action (B, T, D), both float32 and normalised."""

    image: NDArray[np.uint8]
    lowdim: NDArray[np.float32]
    action: NDArray[np.float32]


class DemoDataset:
    """The demonstrations of one split, whole in memory, with images resized once to ``observation.image_size``.

    ``batch`` gives windows around a row k: observations k-To+1..k, actions k..k+T-1; a window that reaches over an end of its demonstration
    repeats the first observation or the last action. The statistics are ``stats``, or those of the train split, whichever split this is.
    Raises :class:`DatasetError`.
    """

    def __init__(
        self, path: str | Path, split: Literal["train", "valid"], observation: ObservationSpec, horizon: int, stats: Stats | None = None
    ) -> None:
        if horizon < 1:
            raise DatasetError(f"horizon: {horizon} is below 1")
        self.path, self.observation, self.horizon = Path(path), observation, horizon
        try:
            self.sha256 = file_sha256(self.path)
            with h5py.File(self.path, "r") as file:
                self.demos = split_names(file, split)
                self.stats = _statistics(file, observation) if stats is None else stats
                self._load(file, split)
        except (OSError, KeyError, ValueError) as error:
            raise DatasetError(f"{self.path}: {error}") from error

    def _load(self, file: h5py.File, split: str) -> None:
        if not self.demos:
            raise DatasetError(f"the {split} split is empty")
        groups = [file["data"][name] for name in self.demos]
        lengths = [int(g.attrs["num_samples"]) for g in groups]
        ends = np.cumsum(lengths)
        size = self.observation.image_size
        self._images = np.empty((int(ends[-1]), size, size, 3), dtype=np.uint8)
        for group, length, end in zip(groups, lengths, ends, strict=True):
            _read_images(group, self.observation, self._images[end - length : end])
        self._lowdim = self.stats.lowdim.normalise(np.concatenate([_lowdim(g, self.observation) for g in groups])).astype(np.float32)
        self._actions = self.stats.action.normalise(np.concatenate([_actions(g) for g in groups])).astype(np.float32)
        # First and one past the last row of the demonstration that each row belongs to.
        self._first = np.repeat(ends - lengths, lengths)
        self._end = np.repeat(ends, lengths)

    def __len__(self) -> int:
        """Rows of the split; each is the start of one window."""
        return len(self._actions)

    @property
    def num_demos(self) -> int:
        """Demonstrations in the split."""
        return len(self.demos)

    @property
    def lowdim_width(self) -> int:
        """P."""
        return int(self._lowdim.shape[1])

    @property
    def action_width(self) -> int:
        """D."""
        return int(self._actions.shape[1])

    def batch(self, indices: ArrayLike) -> Batch:
        """Windows of rows (B,). Raises IndexError for a row outside the split."""
        rows = np.asarray(indices, dtype=np.int64).reshape(-1, 1)
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"rows {rows.min()}..{rows.max()} are not all in 0..{len(self) - 1}")
        seen = np.maximum(rows + np.arange(1 - self.observation.window, 1), self._first[rows])
        ahead = np.minimum(rows + np.arange(self.horizon), self._end[rows] - 1)
        return {"image": self._images[seen], "lowdim": self._lowdim[seen], "action": self._actions[ahead]}


def split_names(file: h5py.File, split: str) -> tuple[str, ...]:
    """Names of the demonstrations in ``mask/<split>``, in order."""
    return tuple(name.decode() for name in file[f"mask/{split}"][()])


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _statistics(file: h5py.File, spec: ObservationSpec) -> Stats:
    groups = [file["data"][name] for name in split_names(file, "train")]
    if not groups:
        raise DatasetError("the train split is empty: there is nothing to take statistics of")
    return Stats(
        action=MinMax.of(np.concatenate([_actions(g) for g in groups])), lowdim=MinMax.of(np.concatenate([_lowdim(g, spec) for g in groups]))
    )


def _lowdim(group: h5py.Group, spec: ObservationSpec) -> FloatArray:
    stored = {key: group["obs"][key][()] for key in _stored_keys(spec.lowdim_keys)}
    return lowdim_rows(stored, spec.lowdim_keys)


def _stored_keys(keys: Sequence[str]) -> list[str]:
    streams = {LOWDIM_SOURCES[key][0] for key in keys}
    return [key for key in _STORED_LOWDIM if LOWDIM_SOURCES[key][0] in streams]


def _actions(group: h5py.Group) -> FloatArray:
    return np.concatenate([np.asarray(group["action_dict"][key][()], dtype=np.float64) for key in ACTION_KEYS], axis=-1)


def _read_images(group: h5py.Group, spec: ObservationSpec, out: NDArray[np.uint8]) -> None:
    stored = group["obs"][spec.image_key]
    size = tuple(int(n) for n in stored.shape[1:3])
    # Resizing twice is not resizing once: only pictures as the camera took them give what the robot will see.
    camera = tuple(int(n) for n in stored.attrs.get("camera_size", size))
    if size != camera and size != (spec.image_size, spec.image_size):
        raise DatasetError(
            f"{group.name}: images were collected at {size[1]}x{size[0]}, not at {spec.image_size}x{spec.image_size}; "
            f"collect them again with --image-size {spec.image_size}, or without it"
        )
    if len(stored) != len(out):
        raise DatasetError(f"{group.name}: {len(stored)} images for {len(out)} rows")
    for i in range(len(out)):
        out[i] = resize_image(stored[i], spec.image_size)
