"""Single rotations at the command rate: the batched functions of ``cdp.geometry`` cost several times as much for one."""

from __future__ import annotations

import math

import numpy as np

from cdp.geometry import FloatArray, matrix_to_rotvec


def turn_between(rotation: FloatArray, to_rotation: FloatArray) -> FloatArray:
    """Rotation vector (3,) [rad], in the base frame, that turns one rotation matrix (3, 3) into another."""
    m = to_rotation @ rotation.T
    axis = 0.5 * np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    cosine = 0.5 * (m[0, 0] + m[1, 1] + m[2, 2] - 1.0)
    if cosine < -0.9:
        return matrix_to_rotvec(m)  # near half a turn the antisymmetric part vanishes
    sine = math.sqrt(float(axis @ axis))
    return axis if sine < 1e-9 else axis * (math.atan2(sine, cosine) / sine)


def small_turn(rotation: FloatArray, to_rotation: FloatArray) -> float:
    """Chord of the angle [rad] between two rotation matrices (3, 3), 2 sin(angle / 2): for comparing small angles, a tenth of the price."""
    difference = (to_rotation - rotation).ravel()
    return math.sqrt(0.5 * float(difference @ difference))


def turn_matrix(turn: FloatArray) -> FloatArray:
    """Rotation matrix (3, 3) of a rotation vector (3,) [rad], by Rodrigues' formula."""
    x, y, z = (float(v) for v in turn)
    angle = math.sqrt(x * x + y * y + z * z)
    a = math.sin(angle) / angle if angle > 1e-9 else 1.0
    b = 2.0 * (math.sin(0.5 * angle) / angle) ** 2 if angle > 1e-9 else 0.5
    return np.array(
        [
            [1.0 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y],
            [b * x * y + a * z, 1.0 - b * (x * x + z * z), b * y * z - a * x],
            [b * x * z - a * y, b * y * z + a * x, 1.0 - b * (x * x + y * y)],
        ]
    )


def orthonormal(matrix: FloatArray) -> FloatArray:
    """The rotation matrix (3, 3) that a product of many has drifted from, by Gram-Schmidt on its first two columns."""
    x, y = matrix[:, 0], matrix[:, 1]
    x = x / math.sqrt(float(x @ x))
    y = y - float(x @ y) * x
    y = y / math.sqrt(float(y @ y))
    z = (x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0])
    return np.array([x, y, z]).T


def quat_of(matrix: FloatArray) -> FloatArray:
    """Quaternion (4,) xyzw with w >= 0 of a rotation matrix (3, 3), by its largest component (Shepperd 1978)."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    trace = a + e + i
    largest = max(trace, a, e, i)
    if largest == trace:
        q = (h - f, c - g, d - b, 1.0 + trace)
    elif largest == a:
        q = (1.0 + a - e - i, b + d, c + g, h - f)
    elif largest == e:
        q = (b + d, 1.0 + e - a - i, f + h, c - g)
    else:
        q = (c + g, f + h, 1.0 + i - a - e, d - b)
    length = math.copysign(math.hypot(*q), q[3])
    return np.array([x / length for x in q])
