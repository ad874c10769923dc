"""One recorded episode in one HDF5 file: the layout, and reading it. The file format is ``cdp-episode-1``.

``streams/<name>/`` holds ``stamp_ns`` (N,) (header stamps), ``receive_ns`` (N,) and the columns of the stream, row for row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cdp.actions import EEF_WIDTH
from cdp.data.images import decode_compressed
from cdp.data.preprocess import Image

FORMAT = "cdp-episode-1"
IMAGE_STREAM = "agentview_image"
SOURCE_OPERATOR = 1


class EpisodeError(RuntimeError):
    """An episode that cannot be written or read; the message says what happened, what was kept and what to do."""


@dataclass(frozen=True)
class Column:
    """One number array per sample: its shape and how it is stored."""

    shape: tuple[int, ...]
    dtype: str


_VECTOR7 = Column((7,), "f8")

# Columns of each stream; an image stream has none, its ``data`` are JPEG files.
STREAMS: Mapping[str, Mapping[str, Column]] = MappingProxyType(
    {
        IMAGE_STREAM: {},
        "joint_pos": {"data": _VECTOR7},
        "joint_vel": {"data": _VECTOR7},
        "eef_pose": {"data": _VECTOR7},
        "gripper_width": {"data": Column((1,), "f8")},
        "action": {
            "data": Column((EEF_WIDTH,), "f4"),
            "observation_stamp_ns": Column((), "i8"),
            "source": Column((), "u1"),
            "deadman": Column((), "u1"),
        },
        "task_state": {"object": _VECTOR7, "goal": _VECTOR7, "success": Column((), "u1")},
    }
)


@dataclass(frozen=True)
class EpisodeInfo:
    """What is known when an episode starts. ``clock`` is ``system`` or ``sim``; ``config`` is whatever the recorder ran with."""

    task: str
    operator: str
    seed: int
    started_ns: int
    clock: str
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EpisodeLabels:
    """What is known when an episode ends; ``dropped`` counts lost messages by stream, ``warnings`` say what else the recorder found lacking."""

    success: bool
    note: str
    ended_ns: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class EpisodeReader:
    """A finished episode. A context manager; arrays are read when they are asked for. Raises :class:`EpisodeError` where the file is none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise EpisodeError(f"{self.path}: cannot be read: {error}") from error
        form = self._file.attrs.get("format")
        if form != FORMAT:
            self._file.close()
            raise EpisodeError(f"{self.path}: is no episode: its format is {form!r}, not {FORMAT!r}")

    def __enter__(self) -> EpisodeReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def info(self) -> EpisodeInfo:
        """Attributes from the start of the episode."""
        a = self._file.attrs
        return EpisodeInfo(a["task"], a["operator"], int(a["seed"]), int(a["started_ns"]), a["clock"], json.loads(a["config"]))

    @property
    def labels(self) -> EpisodeLabels:
        """Attributes from the end of the episode."""
        a = self._file.attrs
        return EpisodeLabels(bool(a["success"]), a["note"], int(a["ended_ns"]), json.loads(a["dropped"]), tuple(json.loads(a["warnings"])))

    @property
    def streams(self) -> tuple[str, ...]:
        """Streams with at least one sample."""
        return tuple(name for name in self._file["streams"] if len(self._file["streams"][name]["stamp_ns"]))

    def column(self, stream: str, name: str = "data") -> NDArray[Any]:
        """A column (N, ...) of a stream, also ``stamp_ns`` and ``receive_ns`` (N,) int64. Raises :class:`EpisodeError` where there is none."""
        return np.asarray(self._dataset(stream, name)[()])

    def stamps_ns(self, stream: str) -> NDArray[np.int64]:
        """Header stamps (N,) of a stream, in the order of arrival."""
        return np.asarray(self.column(stream, "stamp_ns"), dtype=np.int64)

    def image(self, index: int, stream: str = IMAGE_STREAM) -> Image:
        """Image (H, W, 3) uint8 RGB. Raises :class:`cdp.data.images.ImageError` where its JPEG is damaged."""
        return decode_compressed(self._dataset(stream, "data")[index], "jpeg")

    def _dataset(self, stream: str, name: str) -> h5py.Dataset:
        try:
            return self._file["streams"][stream][name]
        except KeyError:
            raise EpisodeError(f"{self.path}: has no {stream}/{name}") from None
