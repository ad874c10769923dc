"""Where the board's corners should be in the pictures, and how that changes with camera, board in the hand, board's size and focal length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from cdp.geometry import FloatArray
from cdp.handeye.board import Board
from cdp.handeye.detect import Corners
from cdp.handeye.lens import Lens
from cdp.handeye.pose import Pose

# What a corner behind the camera counts as; a step that leads there is not taken.
_BEHIND_PX = 1e4


@dataclass(frozen=True)
class View:
    """The hand in the base, and the corners that the camera saw."""

    name: str
    hand: Pose
    corners: Corners


class Reprojection:
    """The corners of some views, M in all, with one lens."""

    def __init__(self, views: Sequence[View], board: Board, lens: Lens) -> None:
        counts = [len(view.corners) for view in views]
        self._hand_m = np.repeat(np.stack([view.hand.position_m for view in views]), counts, axis=0)
        self._hand = np.repeat(np.stack([view.hand.rotation for view in views]), counts, axis=0)
        self._corners_m = np.concatenate([board.corners_m[view.corners.number] for view in views])
        self._lens = lens
        self.seen = np.concatenate([view.corners.pixels for view in views])

    def errors(self, camera: Pose, mount: Pose, scale: float = 1.0, focal: float = 1.0) -> FloatArray:
        """Pixels (M, 2) from where a corner is seen to where it should be; board and focal lengths are ``scale`` and ``focal`` times as said."""
        errors = self._longer(focal).project(self._in_camera(camera, mount, scale)) - self.seen
        return np.asarray(np.where(np.isfinite(errors), errors, _BEHIND_PX))

    def jacobian(self, camera: Pose, mount: Pose, scale: float = 1.0, focal: float = 1.0) -> FloatArray:
        """Derivatives (M, 2, 14) of :meth:`errors` by a further :meth:`Pose.moved` of the camera and of the mount, by ``scale`` and by ``focal``."""
        back, turned = camera.rotation.T, scale * self._corners_m @ mount.rotation.T
        seen_from = (self._hand @ (turned + mount.position_m)[..., None])[..., 0] + self._hand_m - camera.position_m
        chain = np.empty((len(self.seen), 3, 13))
        chain[:, :, 0:3] = -back
        chain[:, :, 3:6] = back @ _cross(seen_from)
        chain[:, :, 6:9] = back @ self._hand
        chain[:, :, 9:12] = -back @ self._hand @ _cross(turned)
        chain[:, :, 12] = (back @ self._hand @ (turned / scale)[..., None])[..., 0]
        points = self._in_camera(camera, mount, scale)
        lens = self._longer(focal)
        # OpenCV's columns: turn 3, shift 3, fx, fy, ...; a shift moves all points alike.
        by_lens = cv2.projectPoints(points, np.zeros(3), np.zeros(3), lens.matrix, lens.coefficients)[1].reshape(-1, 2, 10 + len(lens.coefficients))
        by_focal = by_lens[:, :, 6:8] @ np.array([self._lens.fx, self._lens.fy])
        return np.concatenate([by_lens[:, :, 3:6] @ chain, by_focal[..., None]], axis=2)

    def _longer(self, focal: float) -> Lens:
        return replace(self._lens, fx=focal * self._lens.fx, fy=focal * self._lens.fy)

    def _in_camera(self, camera: Pose, mount: Pose, scale: float) -> FloatArray:
        in_hand = mount.points(scale * self._corners_m)
        return camera.inverse().points((self._hand @ in_hand[..., None])[..., 0] + self._hand_m)


def _cross(vectors: FloatArray) -> FloatArray:
    """Matrices (N, 3, 3) of the cross product from the left, by vectors (N, 3)."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([np.stack([zero, -z, y], -1), np.stack([z, zero, -x], -1), np.stack([-y, x, zero], -1)], -2)
