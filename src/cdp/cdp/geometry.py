"""Rotations and poses as arrays. Quaternions are xyzw as in ROS; the 6-D rotation is the first column of R, then the second.

The 6-D form is from Zhou et al., "On the Continuity of Rotation Representations in Neural Networks" (2019): continuous, so a network can regress it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def quat_to_matrix(quat_xyzw: ArrayLike) -> FloatArray:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4) xyzw; each is normalised first. Raises ValueError for a zero quaternion."""
    q = np.asarray(quat_xyzw, dtype=np.float64)
    norm = np.linalg.norm(q, axis=-1, keepdims=True)
    if not np.all(norm > 1e-9):
        raise ValueError("a zero quaternion is no rotation")
    x, y, z, w = np.moveaxis(q / norm, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    matrix = np.empty((*q.shape[:-1], 3, 3))
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            matrix[..., i, j] = value
    return matrix


def matrix_to_quat(matrix: ArrayLike) -> FloatArray:
    """Quaternions (..., 4) xyzw with w >= 0 of rotation matrices (..., 3, 3), by the largest eigenvector of Bar-Itzhack's K matrix."""
    m = np.asarray(matrix, dtype=np.float64)
    k = np.zeros((*m.shape[:-2], 4, 4))
    k[..., 0, 0] = m[..., 0, 0] - m[..., 1, 1] - m[..., 2, 2]
    k[..., 1, 1] = m[..., 1, 1] - m[..., 0, 0] - m[..., 2, 2]
    k[..., 2, 2] = m[..., 2, 2] - m[..., 0, 0] - m[..., 1, 1]
    k[..., 3, 3] = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    k[..., 1, 0] = m[..., 1, 0] + m[..., 0, 1]
    k[..., 2, 0] = m[..., 2, 0] + m[..., 0, 2]
    k[..., 2, 1] = m[..., 2, 1] + m[..., 1, 2]
    k[..., 3, 0] = m[..., 2, 1] - m[..., 1, 2]
    k[..., 3, 1] = m[..., 0, 2] - m[..., 2, 0]
    k[..., 3, 2] = m[..., 1, 0] - m[..., 0, 1]
    quat = np.linalg.eigh(k)[1][..., -1]  # eigh reads the lower triangle
    return np.asarray(np.where(quat[..., 3:] < 0, -quat, quat))


def matrix_to_rot6d(matrix: ArrayLike) -> FloatArray:
    """6-D rotations (..., 6) of rotation matrices (..., 3, 3)."""
    m = np.asarray(matrix, dtype=np.float64)
    return np.concatenate([m[..., :, 0], m[..., :, 1]], axis=-1)


def orthonormal_rot6d(rot6d: ArrayLike) -> FloatArray:
    """6-D rotations (..., 6) with orthonormal columns by Gram-Schmidt. Raises ValueError where the two columns do not span a plane."""
    r = np.asarray(rot6d, dtype=np.float64)
    a, b = r[..., :3], r[..., 3:]
    norm_a = np.linalg.norm(a, axis=-1, keepdims=True)
    if not np.all(norm_a > 1e-6):
        raise ValueError("a 6-D rotation with a zero first column is no rotation")
    x = a / norm_a
    b = b - np.sum(x * b, axis=-1, keepdims=True) * x
    norm_b = np.linalg.norm(b, axis=-1, keepdims=True)
    if not np.all(norm_b > 1e-6):
        raise ValueError("a 6-D rotation with parallel columns is no rotation")
    return np.concatenate([x, b / norm_b], axis=-1)


def rot6d_to_matrix(rot6d: ArrayLike) -> FloatArray:
    """Rotation matrices (..., 3, 3) of 6-D rotations (..., 6); raises as :func:`orthonormal_rot6d` does."""
    columns = orthonormal_rot6d(rot6d)
    x, y = columns[..., :3], columns[..., 3:]
    matrix = np.empty((*x.shape, 3))
    matrix[..., 0], matrix[..., 1] = x, y
    # np.cross costs as much as all of the rest.
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        matrix[..., i, 2] = x[..., j] * y[..., k] - x[..., k] * y[..., j]
    return matrix


def rotvec_to_matrix(rotvec: ArrayLike) -> FloatArray:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3) [rad], by Rodrigues' formula."""
    v = np.asarray(rotvec, dtype=np.float64)
    angle = np.linalg.norm(v, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(v, -1, 0)
    zero = np.zeros_like(x)
    k = np.stack([np.stack([zero, -z, y], -1), np.stack([z, zero, -x], -1), np.stack([-y, x, zero], -1)], -2)
    sin_ratio = np.sinc(angle / np.pi)
    cos_ratio = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.asarray(np.eye(3) + sin_ratio * k + cos_ratio * (k @ k))


def matrix_to_rotvec(matrix: ArrayLike) -> FloatArray:
    """Rotation vectors (..., 3) [rad], angle in [0, pi], of rotation matrices (..., 3, 3)."""
    quat = matrix_to_quat(matrix)
    vector, w = quat[..., :3], quat[..., 3:]
    norm = np.linalg.norm(vector, axis=-1, keepdims=True)
    angle = 2 * np.arctan2(norm, w)
    return np.asarray(np.where(norm > 1e-12, vector / np.maximum(norm, 1e-12) * angle, 2 * vector))
