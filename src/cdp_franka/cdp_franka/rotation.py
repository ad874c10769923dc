"""Single rotations at the command rate: the batched functions of ``cdp.geometry`` cost several times as much for one.

Plain numbers are quicker than arrays of three: an operation on such an array costs as much as ten on numbers.
"""

from __future__ import annotations

import math

import numpy as np

from cdp.geometry import FloatArray, matrix_to_rotvec


def turn_between(rotation: FloatArray, to_rotation: FloatArray) -> FloatArray:
    """Rotation vector (3,) [rad], in the base frame, that turns one rotation matrix (3, 3) into another."""
    (a, b, c), (d, e, f), (g, h, i) = rotation.tolist()
    (p, q, r), (s, t, u), (v, w, x) = to_rotation.tolist()
    # to_rotation @ rotation.T: its antisymmetric part and its trace.
    ax = 0.5 * ((v * d + w * e + x * f) - (s * g + t * h + u * i))
    ay = 0.5 * ((p * g + q * h + r * i) - (v * a + w * b + x * c))
    az = 0.5 * ((s * a + t * b + u * c) - (p * d + q * e + r * f))
    cosine = 0.5 * ((p * a + q * b + r * c) + (s * d + t * e + u * f) + (v * g + w * h + x * i) - 1.0)
    if cosine < -0.9:
        return matrix_to_rotvec(to_rotation @ rotation.T)  # near half a turn the antisymmetric part vanishes
    sine = math.sqrt(ax * ax + ay * ay + az * az)
    share = 1.0 if sine < 1e-9 else math.atan2(sine, cosine) / sine
    return np.array((ax * share, ay * share, az * share))


def turns_along(rotations: FloatArray) -> FloatArray:
    """Rotation vectors (T - 1, 3) [rad] of :func:`turn_between` from each of the rotation matrices (T, 3, 3) to the next."""
    m = rotations[1:] @ np.swapaxes(rotations[:-1], 1, 2)
    cosine = 0.5 * (m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2] - 1.0)
    if np.any(cosine < -0.9):
        return matrix_to_rotvec(m)
    axis = 0.5 * (m[:, (2, 0, 1), (1, 2, 0)] - m[:, (1, 2, 0), (2, 0, 1)])
    sine = np.sqrt(np.sum(axis * axis, axis=1))
    small = sine < 1e-9
    return np.asarray(axis * np.where(small, 1.0, np.arctan2(sine, cosine) / np.where(small, 1.0, sine))[:, None])


def small_turn(rotation: FloatArray, to_rotation: FloatArray) -> float:
    """Chord of the angle [rad] between two rotation matrices (3, 3), 2 sin(angle / 2): for comparing small angles, a tenth of the price."""
    difference = (to_rotation - rotation).ravel()
    return math.sqrt(0.5 * float(difference @ difference))


def turn_matrix(turn: FloatArray) -> FloatArray:
    """Rotation matrix (3, 3) of a rotation vector (3,) [rad], by Rodrigues' formula."""
    x, y, z = turn.tolist()
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
    (a, d, _), (b, e, _), (c, f, _) = matrix.tolist()
    length = math.sqrt(a * a + b * b + c * c)
    a, b, c = a / length, b / length, c / length
    along = a * d + b * e + c * f
    d, e, f = d - along * a, e - along * b, f - along * c
    length = math.sqrt(d * d + e * e + f * f)
    d, e, f = d / length, e / length, f / length
    return np.array(((a, d, b * f - c * e), (b, e, c * d - a * f), (c, f, a * e - b * d)))


def matrix_of(quat_xyzw: FloatArray) -> FloatArray:
    """Rotation matrix (3, 3) of a quaternion (4,) xyzw, which is normalised first. Raises ValueError for a zero quaternion."""
    x, y, z, w = quat_xyzw.tolist()
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if not length > 1e-9:
        raise ValueError("a zero quaternion is no rotation")
    x, y, z, w = x / length, y / length, z / length, w / length
    return np.array(
        (
            (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        )
    )


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
