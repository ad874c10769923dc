"""A pose as position and rotation matrix, with the few operations that a calibration needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from cdp.geometry import FloatArray, matrix_to_rotvec, rotvec_to_matrix


@dataclass(frozen=True)
class Pose:
    """``position_m`` (3,) and ``rotation`` (3, 3) of a frame in another; both (N, ...) for N poses."""

    position_m: FloatArray
    rotation: FloatArray

    def __matmul__(self, other: Pose) -> Pose:
        return Pose(self.points(other.position_m), self.rotation @ other.rotation)

    def __getitem__(self, index: int) -> Pose:
        return Pose(self.position_m[index], self.rotation[index])

    def inverse(self) -> Pose:
        """The pose of the other frame in this one."""
        back = np.swapaxes(self.rotation, -1, -2)
        return Pose(-np.einsum("...ij,...j->...i", back, self.position_m), back)

    def points(self, points_m: FloatArray) -> FloatArray:
        """Points (..., 3) [m] of this frame in the other."""
        return np.asarray(np.einsum("...ij,...j->...i", self.rotation, points_m) + self.position_m)

    def moved(self, change: FloatArray) -> Pose:
        """This pose shifted by ``change[:3]`` [m] and turned by the rotation vector ``change[3:]`` [rad], both in the other frame."""
        return Pose(self.position_m + change[:3], rotvec_to_matrix(change[3:]) @ self.rotation)

    def change_to(self, other: Pose) -> FloatArray:
        """The change (6,) of :meth:`moved` that leads to ``other``."""
        return np.concatenate([other.position_m - self.position_m, matrix_to_rotvec(other.rotation @ self.rotation.T)])


def stack(poses: Sequence[Pose]) -> Pose:
    """N poses as one."""
    return Pose(np.stack([p.position_m for p in poses]), np.stack([p.rotation for p in poses]))


def mean(poses: Pose) -> Pose:
    """The mean of N poses: of the positions, and the rotation nearest to all in the Frobenius norm."""
    return Pose(poses.position_m.mean(axis=0), Rotation.from_matrix(poses.rotation).mean().as_matrix())
