"""The board's corners in a picture, and the board's pose in the camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cdp.camera.features import Picture
from cdp.geometry import FloatArray, rotvec_to_matrix
from cdp.handeye.board import Board
from cdp.handeye.lens import Lens
from cdp.handeye.pose import Pose

# A pose needs four; with six the plane's two possible poses can be told apart.
LEAST_CORNERS = 6
# A picture up to this width is enlarged first: small markers are read further off, and corners are found to 0.08 instead of 0.14 pixels.
_ENLARGED_BELOW = 1000


@dataclass(frozen=True)
class Corners:
    """``number`` (N,) of each corner seen, and where, ``pixels`` (N, 2)."""

    number: NDArray[np.int64]
    pixels: FloatArray

    def __len__(self) -> int:
        return len(self.number)


def find_corners(picture: Picture, board: Board) -> Corners:
    """Corners of the board in an RGB picture (H, W, 3) uint8; none where it is not seen."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    factor = 2 if grey.shape[1] <= _ENLARGED_BELOW else 1
    large = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else grey
    pixels, numbers, _, _ = cv2.aruco.CharucoDetector(board.pattern).detectBoard(large)
    if numbers is None or not len(numbers):
        return Corners(np.empty(0, np.int64), np.empty((0, 2)))
    # Pixel centres are whole numbers in both pictures.
    found = (np.asarray(pixels, dtype=np.float64).reshape(-1, 2) - 0.5 * (factor - 1)) / factor
    return Corners(np.asarray(numbers, dtype=np.int64).reshape(-1), found)


def usable(corners: Corners, board: Board) -> bool:
    """Whether the corners fix a pose: enough of them, and not all on one line."""
    if len(corners) < LEAST_CORNERS:
        return False
    flat = board.corners_m[corners.number, :2]
    return bool(np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False)[1] > board.square_m)


def board_poses(corners: Corners, board: Board, lens: Lens) -> list[Pose]:
    """Poses of the board in the camera that these corners allow, the better fit first: a distant plane has two (Collins and Bartoli, 2014)."""
    points = board.corners_m[corners.number]
    count, turns, shifts, _ = cv2.solvePnPGeneric(points, corners.pixels, lens.matrix, lens.coefficients, flags=cv2.SOLVEPNP_IPPE)
    return [Pose(np.asarray(shifts[k], np.float64).reshape(3), rotvec_to_matrix(np.asarray(turns[k], np.float64).reshape(3))) for k in range(count)]
