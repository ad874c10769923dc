"""Small matrices and turns in plain loops, which Numba compiles; quaternions are wxyz."""

from __future__ import annotations

import math

from cdp.geometry import FloatArray


def cholesky(a: FloatArray, n: int, low: FloatArray) -> None:
    """Lower factor (n, n) of the symmetric positive definite ``a`` (n, n); both may lie in larger arrays."""
    for i in range(n):
        for j in range(i + 1):
            rest = a[i, j]
            for k in range(j):
                rest -= low[i, k] * low[j, k]
            low[i, j] = math.sqrt(max(rest, 1e-12)) if i == j else rest / low[j, j]


def solve(low: FloatArray, n: int, x: FloatArray) -> None:
    """Turn the right-hand side ``x`` (n,) into the solution, by the factor of :func:`cholesky`."""
    for i in range(n):
        for k in range(i):
            x[i] -= low[i, k] * x[k]
        x[i] /= low[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            x[i] -= low[k, i] * x[k]
        x[i] /= low[i, i]


def turned(by_rad: FloatArray, quat: FloatArray, out: FloatArray) -> None:
    """``quat`` (4,) turned by the rotation vector ``by_rad`` (3,) of the base frame, into ``out`` (4,)."""
    angle = math.sqrt(by_rad[0] * by_rad[0] + by_rad[1] * by_rad[1] + by_rad[2] * by_rad[2])
    scale = 0.5 if angle < 1e-9 else math.sin(0.5 * angle) / angle
    w, x, y, z = math.cos(0.5 * angle), scale * by_rad[0], scale * by_rad[1], scale * by_rad[2]
    a, b, c, d = quat[0], quat[1], quat[2], quat[3]
    out[0] = w * a - x * b - y * c - z * d
    out[1] = w * b + x * a + y * d - z * c
    out[2] = w * c - x * d + y * a + z * b
    out[3] = w * d + x * c - y * b + z * a


def turn_to(to: FloatArray, start: FloatArray, out: FloatArray) -> None:
    """Shortest rotation vector (3,) of the base frame, into ``out``, from the quaternion ``start`` (4,) ``to`` another (4,)."""
    a, b, c, d = start[0], -start[1], -start[2], -start[3]
    w = to[0] * a - to[1] * b - to[2] * c - to[3] * d
    x = to[0] * b + to[1] * a + to[2] * d - to[3] * c
    y = to[0] * c - to[1] * d + to[2] * a + to[3] * b
    z = to[0] * d + to[1] * c - to[2] * b + to[3] * a
    sine = math.sqrt(x * x + y * y + z * z)
    scale = 2.0 if sine < 1e-9 else 2.0 * math.atan2(sine, abs(w)) / sine
    if w < 0.0:
        scale = -scale
    out[0], out[1], out[2] = scale * x, scale * y, scale * z


def quaternion(r: FloatArray, out: FloatArray) -> None:
    """Quaternion (4,), into ``out``, of the rotation in the upper left of ``r`` (Shepperd 1978)."""
    trace = r[0, 0] + r[1, 1] + r[2, 2]
    if trace > 0.0:
        s = 2.0 * math.sqrt(1.0 + trace)
        out[0], out[1], out[2], out[3] = 0.25 * s, (r[2, 1] - r[1, 2]) / s, (r[0, 2] - r[2, 0]) / s, (r[1, 0] - r[0, 1]) / s
    else:
        i = 0
        if r[1, 1] > r[0, 0]:
            i = 1
        if r[2, 2] > r[i, i]:
            i = 2
        j, k = (i + 1) % 3, (i + 2) % 3
        s = 2.0 * math.sqrt(max(1.0 + r[i, i] - r[j, j] - r[k, k], 1e-12))
        out[0] = (r[k, j] - r[j, k]) / s
        out[1 + i], out[1 + j], out[1 + k] = 0.25 * s, (r[j, i] + r[i, j]) / s, (r[k, i] + r[i, k]) / s
