"""What people look at after a run: one video of all episodes and a contact sheet of their first, middle and last views."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

# Multiples of 16, as the codec's blocks are.
VIDEO_SIZE = (512, 384)
THUMB_SIZE = (240, 180)
SUCCESS_RGB = (60, 190, 90)
FAILURE_RGB = (220, 70, 60)
BORDER_PX = 4
LABEL_SCALE = 0.5
LABEL_MARGIN_PX = 6


class EpisodeVideo:
    """Appends labelled frames to an H.264 file; the file appears under its name when :meth:`close` is called, whole."""

    def __init__(self, path: Path, frame_rate_hz: float) -> None:
        """Open ``path`` (.mp4) for frames that will be shown at ``frame_rate_hz``."""
        self.path = path
        self._part = path.with_name(f".{path.stem}.part{path.suffix}")
        self._rate_hz = frame_rate_hz
        self._sink: Generator[None, bytes | None, None] | None = None

    def add(self, rgb: Frame, label: str) -> None:
        """Append one image (H, W, 3) uint8 RGB with ``label`` along its lower edge."""
        if self._sink is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = imageio_ffmpeg.write_frames(
                str(self._part), VIDEO_SIZE, fps=self._rate_hz, codec="libx264", quality=None, output_params=["-preset", "veryfast", "-crf", "24"]
            )
            self._sink.send(None)
        self._sink.send(_labelled(cv2.resize(rgb, VIDEO_SIZE, interpolation=cv2.INTER_AREA), label).tobytes())

    def close(self) -> Path | None:
        """Finish the file and give its path; None when no frame was added."""
        if self._sink is None:
            return None
        self._sink.close()
        self._sink = None
        self._part.replace(self.path)
        return self.path


class ContactSheet:
    """Collects thumbnails of each episode and lays them out as one picture."""

    def __init__(self) -> None:
        self._rows: list[tuple[list[Frame], str, bool]] = []
        self._frames: list[Frame] = []

    def add(self, rgb: Frame) -> None:
        """Take a view (H, W, 3) uint8 RGB of the running episode."""
        self._frames.append(np.asarray(cv2.resize(rgb, THUMB_SIZE, interpolation=cv2.INTER_AREA), dtype=np.uint8))

    def end_episode(self, label: str, success: bool) -> None:
        """Close the running episode's row: its first, middle and last view."""
        if self._frames:
            chosen = [self._frames[i] for i in (0, len(self._frames) // 2, len(self._frames) - 1)]
            self._rows.append((chosen, label, success))
        self._frames = []

    def write(self, path: Path, columns: int = 2) -> Path | None:
        """Write the picture; None when there is no episode."""
        if not self._rows:
            return None
        cells = [self._cell(*row) for row in self._rows]
        blank = np.full_like(cells[0], 255)
        cells += [blank] * (-len(cells) % columns)
        rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))
        return path

    @staticmethod
    def _cell(frames: list[Frame], label: str, success: bool) -> Any:
        strip = _labelled(np.hstack(frames), label)
        colour = SUCCESS_RGB if success else FAILURE_RGB
        return cv2.copyMakeBorder(strip, BORDER_PX, BORDER_PX, BORDER_PX, BORDER_PX, cv2.BORDER_CONSTANT, value=colour)


def _labelled(rgb: Any, label: str) -> Frame:
    picture = np.ascontiguousarray(rgb, dtype=np.uint8)
    height = picture.shape[0]
    # A bar behind the text and no outline around it: a thicker stroke may be set wider, and the two would not lie on each other.
    (width, rise), below = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, LABEL_SCALE, 1)
    corner = (LABEL_MARGIN_PX, height - LABEL_MARGIN_PX - below)
    cv2.rectangle(picture, (0, corner[1] - rise - LABEL_MARGIN_PX), (width + 2 * LABEL_MARGIN_PX, height), (0, 0, 0), cv2.FILLED)
    cv2.putText(picture, label, corner, cv2.FONT_HERSHEY_SIMPLEX, LABEL_SCALE, (255, 255, 255), 1, cv2.LINE_AA)
    return picture
