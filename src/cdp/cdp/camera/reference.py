"""Where a camera looked when a data set was recorded: one picture, the part of it that stands still, and the camera's own size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np

from cdp.camera.features import Mask, Picture
from cdp.data.demos import demo_names, open_demos, read_demo
from cdp.data.episode import EpisodeError, EpisodeReader
from cdp.data.streams import IMAGE_STREAM

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
# Of as many demonstrations the first pictures make the reference.
_MOST_DEMOS = 40
# What differs by this much of 255 in more than a tenth of them has moved: the arm's start, objects.
_SAME = 12
_MOVES_SHARE = 0.9


class CameraError(RuntimeError):
    """There is no such reference, or the live picture cannot be compared with it; the message says what to do."""


@dataclass(frozen=True)
class Reference:
    """``picture`` (H, W, 3) uint8 RGB; ``still`` (H, W), 0 where the scene moves between demonstrations, None where that is not known.

    ``camera_size``: (height, width) that the camera gave; a data set's pictures may be smaller, and squashed to a square.
    """

    picture: Picture
    still: Mask | None
    camera_size: tuple[int, int]
    source: str


def load_reference(path: Path, camera: str = IMAGE_STREAM) -> Reference:
    """The reference in a file of demonstrations, a recorded episode, or a picture. Raises :class:`CameraError`, or DataError and EpisodeError."""
    if not path.is_file():
        raise CameraError(f"{path}: no such file; give demonstrations (demos.hdf5), a recorded episode, or a picture")
    if path.suffix.lower() in PICTURES:
        picture = read_picture(path)
        return Reference(picture, None, (picture.shape[0], picture.shape[1]), path.name)
    with h5py.File(path, "r") as file:
        episode = str(file.attrs.get("format", "")).startswith("cdp-episode")
    return _of_episode(path, camera) if episode else _of_demos(path, camera)


def read_picture(path: Path) -> Picture:
    """A picture (H, W, 3) uint8 RGB. Raises :class:`CameraError`."""
    bgr = cv2.imread(str(path))
    if bgr is None:
        raise CameraError(f"{path}: no picture that can be read")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _of_episode(path: Path, camera: str) -> Reference:
    with EpisodeReader(path) as episode:
        if camera not in episode.streams:
            raise EpisodeError(f"{path}: no stream {camera!r}; there are {', '.join(episode.streams)}")
        picture = np.asarray(episode.image(0, camera), dtype=np.uint8)
    return Reference(picture, None, (picture.shape[0], picture.shape[1]), f"{path.name}, its first picture")


def _of_demos(path: Path, camera: str) -> Reference:
    with open_demos(path) as file:
        names = demo_names(file)
        chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(_MOST_DEMOS, len(names))).round().astype(int))]
        pictures, size = [], (0, 0)
        for name in chosen:
            demo = read_demo(file, name)
            key = f"obs/{camera}"
            if key not in demo.arrays:
                raise CameraError(f"{path}: {name} has no pictures {key}; it has {', '.join(a for a in demo.arrays if a.startswith('obs/'))}")
            pictures.append(np.asarray(demo.arrays[key][0:1][0], dtype=np.uint8))
            height, width = demo.array_attrs.get(key, {}).get("camera_size", pictures[-1].shape[:2])
            size = (int(height), int(width))
    if len({picture.shape for picture in pictures}) != 1:
        raise CameraError(f"{path}: its demonstrations have pictures of different sizes")
    stack = np.stack(pictures)
    picture = np.median(stack, axis=0).astype(np.uint8)
    return Reference(picture, _still(stack, picture), size, f"{path.name}, the median first picture of {len(chosen)} demonstrations")


def _still(stack: Picture, picture: Picture) -> Mask | None:
    """Where (nearly) all first pictures are alike; None where there are too few to tell, or hardly anything is."""
    if len(stack) < 3:
        return None
    alike = np.abs(stack.astype(np.int16) - picture).max(axis=-1) <= _SAME
    still = cv2.erode(np.where(alike.mean(axis=0) >= _MOVES_SHARE, 255, 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(still, dtype=np.uint8) if (still > 0).mean() > 0.25 else None
