"""One recorded episode in one HDF5 file: the layout, and reading it. The file format is ``cdp-episode-1``.

``streams/<name>/`` holds ``stamp_ns`` (N,) (header stamps), ``receive_ns`` (N,) and the columns of the stream, row for row. Samples stamped before
the episode's ``started_ns`` are the pre-roll.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cdp.data.images import decode_compressed
from cdp.data.preprocess import Image
from cdp.data.streams import IMAGE_STREAM, JPEG, RAW

FORMAT = "cdp-episode-1"
SOURCE_OPERATOR = 1


class EpisodeError(RuntimeError):
    """An episode that cannot be written or read; the message says what happened, what was kept and what to do."""


@dataclass(frozen=True)
class EpisodeInfo:
    """What is known when an episode starts. ``clock`` is ``system`` or ``sim``; ``config`` is whatever the recorder ran with."""

    task: str
    operator: str
    seed: int
    started_ns: int
    clock: str
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EpisodeLabels:
    """What is known when an episode ends; ``dropped`` counts lost messages by stream, ``warnings`` say what else the recorder found lacking.

    ``labelled`` False: nobody said whether it succeeded. ``verdict`` holds the recorder's figures by stream, ``idle_ns`` the times during which the
    arm stood still, first and last stamp of each. ``recovered``: the recorder was ended in the middle, and this is what it had written.
    """

    success: bool
    note: str
    ended_ns: int
    dropped: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    labelled: bool = True
    verdict: dict[str, Any] = field(default_factory=dict)
    idle_ns: tuple[tuple[int, int], ...] = ()
    recovered: bool = False


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
        idle = self._file["idle_ns"][()].tolist() if "idle_ns" in self._file else []
        return EpisodeLabels(
            success=bool(a["success"]),
            note=a["note"],
            ended_ns=int(a["ended_ns"]),
            dropped=json.loads(a["dropped"]),
            warnings=tuple(json.loads(a["warnings"])),
            labelled=bool(a.get("labelled", True)),
            verdict=json.loads(a.get("verdict", "{}")),
            idle_ns=tuple((int(first), int(last)) for first, last in idle),
            recovered=bool(a.get("recovered", False)),
        )

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
        stored = self._dataset(stream, "data")
        if stored.attrs.get("encoding", JPEG) == RAW:
            return np.asarray(stored[index])
        return decode_compressed(stored[index], "jpeg")

    def is_image(self, stream: str) -> bool:
        """Whether a stream holds images."""
        return "encoding" in self._dataset(stream, "stamp_ns").parent.get("data", self._file).attrs

    def stream_attributes(self, stream: str) -> dict[str, Any]:
        """What the recorder was told of a stream: ``topic``, ``type``, ``rate_hz``, ``stamped``, ``fields``; what it did not know is absent."""
        attributes = self._dataset(stream, "stamp_ns").parent.attrs
        return {name: list(value) if name == "fields" else value for name, value in attributes.items()}

    def _dataset(self, stream: str, name: str) -> h5py.Dataset:
        try:
            return self._file["streams"][stream][name]
        except KeyError:
            raise EpisodeError(f"{self.path}: has no {stream}/{name}") from None
