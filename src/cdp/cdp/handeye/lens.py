"""The camera's own geometry: focal lengths, principal point, distortion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from cdp.config import ConfigError, setting
from cdp.geometry import FloatArray

# Nearer than this to the camera's plane, a point has no place in the picture.
_NEAR_M = 1e-3


@dataclass(frozen=True)
class Lens:
    """Pinhole camera, pixel centres at whole numbers, with OpenCV's distortion k1 k2 p1 p2 k3 (and k4 k5 k6)."""

    width: int = setting(low=1, high=100_000, help="[pixels]")
    height: int = setting(low=1, high=100_000, help="[pixels]")
    fx: float = setting(low=1.0, high=1e6, help="focal length [pixels]")
    fy: float = setting(low=1.0, high=1e6, help="focal length [pixels]")
    cx: float = setting(help="principal point [pixels]")
    cy: float = setting(help="principal point [pixels]")
    distortion: tuple[float, ...] = setting((), help="k1 k2 p1 p2 k3 k4 k5 k6, the first 0, 4, 5 or 8 of them")
    source: str = setting("camera_info", choices=("camera_info", "views"), help="the camera's driver, or calibrated from the views")

    def __post_init__(self) -> None:
        if len(self.distortion) not in (0, 4, 5, 8):
            raise ConfigError(f"distortion: {len(self.distortion)} coefficients; 0, 4, 5 or 8 are understood")

    @property
    def matrix(self) -> FloatArray:
        """K (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def coefficients(self) -> FloatArray:
        """Distortion as OpenCV wants it, zeros where there is none."""
        return np.array(self.distortion or (0.0,) * 5)

    def project(self, points_m: ArrayLike) -> FloatArray:
        """Pixels (N, 2) of points (N, 3) [m] in the optical frame: x right, y down, z forward. NaN for what is not in front of the camera."""
        points = np.ascontiguousarray(np.asarray(points_m, dtype=np.float64).reshape(-1, 3))
        seen = points[:, 2] > _NEAR_M
        pixels = np.full((len(points), 2), np.nan)
        if seen.any():
            pixels[seen] = cv2.projectPoints(points[seen], np.zeros(3), np.zeros(3), self.matrix, self.coefficients)[0].reshape(-1, 2)
        return pixels
