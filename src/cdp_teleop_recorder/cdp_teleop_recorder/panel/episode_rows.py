"""What the list shows of one episode's file. No ROS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from cdp.data.episode import EpisodeError, EpisodeReader
from cdp.data.images import ImageArray, ImageError, encode_jpeg
from cdp.data.streams import IMAGE_STREAM

THUMBNAIL_SIZE = (160, 120)
_QUALITY = 80
_UTC = re.compile(r"_(\d{8}T\d{6}Z)_\d+\.hdf5$")


@dataclass(frozen=True)
class EpisodeRow:
    """One file of the list; ``problem`` says why it cannot be read, and the rest is then empty.

    ``success`` None: nobody said. ``version`` changes with the file.
    """

    name: str
    recorded_s: float
    version: str
    problem: str = ""
    task: str = ""
    operator: str = ""
    note: str = ""
    duration_s: float = 0.0
    success: bool | None = None
    recovered: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """As the recorder's answer has it."""
        return "unreadable" if self.problem else "suspect" if self.warnings else "good"


def recorded_s(path: Path, modified_s: float) -> float:
    """When an episode was recorded [s since 1970]: its name says so, and keeps saying so when a label changes the file."""
    match = _UTC.search(path.name)
    if match is None:
        return modified_s
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return modified_s


def read_row(path: Path, when_s: float, version: str) -> EpisodeRow:
    """The row of the file at ``path``; what cannot be read becomes a row that says why."""
    try:
        with EpisodeReader(path) as episode:
            info, labels = episode.info, episode.labels
    except (EpisodeError, OSError) as error:
        return EpisodeRow(path.name, when_s, version, problem=str(error))
    except (KeyError, ValueError, TypeError) as error:
        return EpisodeRow(path.name, when_s, version, problem=f"{path}: lacks what every episode says of itself: {error}")
    return EpisodeRow(
        path.name,
        when_s,
        version,
        task=str(info.task),
        operator=str(info.operator),
        note=str(labels.note),
        duration_s=(labels.ended_ns - info.started_ns) / 1e9,
        success=labels.success if labels.labelled else None,
        recovered=labels.recovered,
        warnings=tuple(str(warning) for warning in labels.warnings),
    )


def thumbnail(path: Path) -> bytes | None:
    """A small JPEG of the episode's middle, by its first camera; None where it has no picture, or none that can be read."""
    try:
        with EpisodeReader(path) as episode:
            cameras = sorted((name for name in episode.streams if episode.is_image(name)), key=lambda name: (name != IMAGE_STREAM, name))
            if not cameras:
                return None
            return small_jpeg(episode.image(len(episode.stamps_ns(cameras[0])) // 2, cameras[0]), THUMBNAIL_SIZE[0])
    except (EpisodeError, ImageError, OSError, KeyError, ValueError, TypeError):
        return None


def small_jpeg(rgb: ImageArray, width: int) -> bytes:
    """JPEG of an image (H, W, 3) uint8, no wider than ``width`` pixels."""
    if rgb.shape[1] > width:
        height = max(1, round(rgb.shape[0] * width / rgb.shape[1]))
        rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return encode_jpeg(rgb, _QUALITY).tobytes()
