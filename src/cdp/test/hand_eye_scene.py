"""A camera, a board in the hand and hand poses that are known: what a calibration has to find."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from cdp.geometry import rotvec_to_matrix
from cdp.handeye.board import Board
from cdp.handeye.detect import Corners
from cdp.handeye.lens import Lens
from cdp.handeye.pose import Pose
from cdp.handeye.reprojection import View

LENS = Lens(640, 480, 613.0, 611.0, 322.0, 236.0)


def looking(position_m, target_m):
    """Optical frame (x right, y down, z forward) at a place, looking at another, the horizon level."""
    forward = np.asarray(target_m, float) - np.asarray(position_m, float)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return Pose(np.asarray(position_m, float), np.stack([right, np.cross(forward, right), forward], axis=1))


CAMERA = looking((1.22, 0.1, 0.62), (0.5, 0.0, 0.35))
# Askew, so that no axis is another by chance.
MOUNT = Pose(np.array([-0.11, 0.05, 0.06]), rotvec_to_matrix(np.array([0.2, 1.1, -0.3])))


@dataclass
class Scene:
    """Hand poses with the board turned by up to ``tilt_deg`` out of the camera's plane, about the axes (of the board) that are not 0 in ``about``."""

    board: Board = field(default_factory=Board)
    lens: Lens = LENS
    camera: Pose = CAMERA
    mount: Pose = MOUNT
    distance_m: float = 0.7

    def hands(self, count=15, seed=0, tilt_deg=35.0, about=(1.0, 1.0, 1.0)):
        """Poses of the hand in the base; the board stays in the picture."""
        rng = np.random.default_rng(seed)
        width, height = self.board.size_m
        centre = np.array([0.5 * width, 0.5 * height, 0.0])
        for _ in range(count):
            turn = rotvec_to_matrix(np.radians(tilt_deg) * np.asarray(about) * rng.uniform(-1, 1, 3))
            middle = np.array([rng.uniform(-0.1, 0.1), rng.uniform(-0.06, 0.06), self.distance_m + rng.uniform(-0.1, 0.15)])
            yield self.camera @ Pose(middle - turn @ centre, turn) @ self.mount.inverse()

    def pixels(self, hand):
        """Where all corners of the board are seen with the hand there."""
        return self.lens.project((self.camera.inverse() @ hand @ self.mount).points(self.board.corners_m))

    def views(self, count=15, noise_px=0.1, seed=0, **ways):
        """Views with every corner, each off by normal noise."""
        rng = np.random.default_rng([seed, 1])
        for k, hand in enumerate(self.hands(count, seed, **ways)):
            pixels = self.pixels(hand)
            yield View(f"view_{k + 1:02d}", hand, Corners(np.arange(len(pixels)), pixels + noise_px * rng.normal(size=pixels.shape)))

    def picture(self, hand):
        """RGB picture (height, width, 3) of the board before grey, by its homography; without distortion."""
        side, finer = 60, 4
        print_ = self.board.pattern.generateImage((self.board.columns * side, self.board.rows * side))
        pose = self.camera.inverse() @ hand @ self.mount
        scale = self.board.square_m / side
        to_board = np.array([[scale, 0, 0.5 * scale], [0, scale, 0.5 * scale], [0, 0, 1.0]])
        onto = self.lens.matrix @ np.stack([pose.rotation[:, 0], pose.rotation[:, 1], pose.position_m], axis=1) @ to_board
        enlarge = np.array([[finer, 0, 0.5 * (finer - 1)], [0, finer, 0.5 * (finer - 1)], [0, 0, 1.0]])
        size = (finer * self.lens.width, finer * self.lens.height)
        large = cv2.warpPerspective(print_, enlarge @ onto, size, flags=cv2.INTER_LINEAR, borderValue=140)
        grey = cv2.resize(large, (self.lens.width, self.lens.height), interpolation=cv2.INTER_AREA)
        return np.repeat((30 + 0.7 * grey).astype(np.uint8)[..., None], 3, axis=-1)


def apart(found, true):
    """Millimetres and degrees between two poses."""
    change = true.change_to(found)
    return 1e3 * np.linalg.norm(change[:3]), np.degrees(np.linalg.norm(change[3:]))
