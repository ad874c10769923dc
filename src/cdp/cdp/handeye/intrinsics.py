"""The lens from the views of the board themselves, where the camera's driver does not know it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from cdp.handeye.board import Board
from cdp.handeye.detect import Corners
from cdp.handeye.errors import HandEyeError
from cdp.handeye.lens import Lens

_LEAST_VIEWS = 8
_WORST_FOCAL_SHARE = 0.02


def lens_of_views(seen: Sequence[Corners], board: Board, width: int, height: int) -> Lens:
    """Focal lengths, principal point and k1, k2 by Zhang's method (2000). Raises :class:`HandEyeError` where the views leave them open."""
    if len(seen) < _LEAST_VIEWS:
        raise HandEyeError(
            f"{len(seen)} views are too few to calibrate the lens from: take {_LEAST_VIEWS} at least, or start the camera's camera_info"
        )
    points = [board.corners_m[corners.number].astype(np.float32) for corners in seen]
    pixels = [corners.pixels.astype(np.float32) for corners in seen]
    fixed = cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3
    _, matrix, distortion, _, _, deviation, _, _ = cv2.calibrateCameraExtended(
        points, pixels, (width, height), np.zeros((3, 3)), np.zeros(5), flags=fixed
    )
    k1, k2, p1, p2, k3 = (float(value) for value in np.ravel(distortion)[:5])
    focal, share = float(matrix[0, 0]), float(np.ravel(deviation)[:2].max() / matrix[0, 0])
    if not share <= _WORST_FOCAL_SHARE:
        raise HandEyeError(
            f"the views leave the focal length open by {100 * share:.0f} % ({focal:.0f} pixels): tilt the board by 30 degrees and more, bring it "
            "nearer and into the corners of the picture, or take camera_info from the driver"
        )
    fx, fy, cx, cy = (float(matrix[i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Lens(width, height, fx, fy, cx, cy, (k1, k2, p1, p2, k3), "views")
