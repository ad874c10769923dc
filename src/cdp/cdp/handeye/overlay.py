"""What a calibration says, drawn into a picture: axes of base, hand and board, and the board's corners as seen and as expected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cdp.camera.features import Picture
from cdp.geometry import FloatArray
from cdp.handeye.board import Board
from cdp.handeye.detect import Corners
from cdp.handeye.lens import Lens
from cdp.handeye.pose import Pose

_SHOWN_WIDTH = 1280
_AXES = ((220, 40, 40), (40, 170, 40), (50, 90, 255))
_SEEN, _EXPECTED = (255, 220, 0), (255, 0, 220)
_NEAR_M, _FAR_PX = 0.02, 1e5


class Overlay:
    """Draws into a copy of a picture (H, W, 3), enlarged to be looked at."""

    def __init__(self, picture: Picture, lens: Lens, camera: Pose) -> None:
        """``camera``: its pose in the base; what is drawn is in the base too."""
        self._factor = max(1, round(_SHOWN_WIDTH / picture.shape[1]))
        size = (self._factor * picture.shape[1], self._factor * picture.shape[0])
        self.picture: Picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        self._lens, self._back = lens, camera.inverse()

    def axes(self, pose: Pose, length_m: float, name: str) -> None:
        """x red, y green, z blue, and the name at the origin. What is behind the camera is left out."""
        origin = self._back.points(pose.position_m)
        for axis, colour in zip(pose.rotation.T, _AXES, strict=True):
            self._line(origin, self._back.points(pose.position_m + length_m * axis), colour)
        self._name(self._lens.project(origin)[0], name)

    def corners(self, seen: Corners, board: Board, pose: Pose) -> None:
        """A yellow ring where a corner is seen, a pink cross where it should be with the board at ``pose``, in the base."""
        expected = self._lens.project(self._back.points(pose.points(board.corners_m)))
        for pixel in seen.pixels:
            if self._drawn(pixel):
                cv2.circle(self.picture, self._at(pixel), 4 * self._factor, _SEEN, 2, cv2.LINE_AA)
        for pixel in expected:
            if self._drawn(pixel):
                cv2.drawMarker(self.picture, self._at(pixel), _EXPECTED, cv2.MARKER_CROSS, 6 * self._factor, 1, cv2.LINE_AA)

    def lines(self, text: Sequence[str]) -> None:
        """Some lines under the picture."""
        strip = np.full((12 + 30 * len(text), self.picture.shape[1], 3), 255, np.uint8)
        for k, line in enumerate(text):
            width = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 0.62, 1)[0][0]
            scale = 0.62 * min(1.0, (self.picture.shape[1] - 24) / width)
            cv2.putText(strip, line, (12, 28 + 30 * k), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)
        self.picture = np.vstack([self.picture, strip])

    def write(self, path: Path) -> None:
        """Write it as PNG. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), cv2.cvtColor(self.picture, cv2.COLOR_RGB2BGR)):
            raise OSError(f"{path} could not be written")

    def _line(self, start: FloatArray, end: FloatArray, colour: tuple[int, int, int]) -> None:
        """A segment between two points in the camera's frame, cut off where it comes too near to the camera."""
        ends = [start, end]
        if max(start[2], end[2]) <= _NEAR_M:
            return
        for k in (0, 1):
            if ends[k][2] < _NEAR_M:
                share = (_NEAR_M - ends[k][2]) / (ends[1 - k][2] - ends[k][2])
                ends[k] = ends[k] + share * (ends[1 - k] - ends[k])
        pixels = self._lens.project(np.stack(ends))
        if all(self._drawn(pixel) for pixel in pixels):
            cv2.line(self.picture, self._at(pixels[0]), self._at(pixels[1]), colour, 2, cv2.LINE_AA)

    def _name(self, pixel: FloatArray, name: str) -> None:
        if self._drawn(pixel):
            x, y = self._at(pixel)
            (width, height), below = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
            cv2.rectangle(self.picture, (x + 6, y - 12 - height), (x + 10 + width, y - 8 + below), (0, 0, 0), cv2.FILLED)
            cv2.putText(self.picture, name, (x + 8, y - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)

    def _drawn(self, pixel: FloatArray) -> bool:
        return bool(np.all(np.isfinite(pixel)) and np.abs(pixel).max() < _FAR_PX)

    def _at(self, pixel: FloatArray) -> tuple[int, int]:
        x, y = (round(float(v)) for v in self._factor * (pixel + 0.5) - 0.5)
        return x, y
