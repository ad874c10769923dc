"""Forward and differential kinematics of the FR3 and the Panda, which share one geometry.

Modified Denavit-Hartenberg parameters (Craig) as published by Franka Robotics; the flange is 0.107 m beyond joint 7, the hand is turned by -45
degrees about the flange's z axis, and ``fr3_hand_tcp`` lies 0.1034 m beyond the hand's origin.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray
from cdp_franka.limits import JOINTS
from cdp_franka.rotation import turn_between

_A_M = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
_D_M = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)
_ALPHA_RAD = (0.0, -math.pi / 2, math.pi / 2, math.pi / 2, -math.pi / 2, math.pi / 2, math.pi / 2)
_FLANGE_M = 0.107
_HAND_TURN_RAD = -math.pi / 4
_TCP_M = 0.1034
_PROJECTOR_DAMPING = 1e-5
_EYE = np.eye(6)
# a, d and the sense of alpha in quarter turns: exact, where a cosine of pi/2 leaves 6e-17.
_CHAIN = tuple((a, d, round(2.0 * alpha / math.pi)) for a, d, alpha in zip(_A_M, _D_M, _ALPHA_RAD, strict=True))
_TOOL_M = _FLANGE_M + _TCP_M
_TOOL_COS, _TOOL_SIN = math.cos(_HAND_TURN_RAD), math.sin(_HAND_TURN_RAD)
_SHAPE = (JOINTS,)
# x, y, z axes and origin of a frame, one number after the other.
_Frame = tuple[float, float, float, float, float, float, float, float, float, float, float, float]

# The pose that Franka calls "ready".
READY_RAD = (0.0, -math.pi / 4, 0.0, -3 * math.pi / 4, 0.0, math.pi / 2, math.pi / 4)


def _fixed_part(a_m: float, d_m: float, alpha_rad: float) -> FloatArray:
    """Transform from one joint frame to the next at a zero joint angle: Rx(alpha) Tx(a) Tz(d)."""
    c, s = math.cos(alpha_rad), math.sin(alpha_rad)
    return np.array([[1, 0, 0, a_m], [0, c, -s, -s * d_m], [0, s, c, c * d_m], [0, 0, 0, 1]])


def _turn_z(angle_rad: float) -> FloatArray:
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


# Frames (4, 4) of links 1 to 7 in the link before, at zero joint angles, and of the hand in link 7.
LINKS = tuple(_fixed_part(a, d, alpha) for a, d, alpha in zip(_A_M, _D_M, _ALPHA_RAD, strict=True))
HAND = _fixed_part(0.0, _FLANGE_M, 0.0) @ _turn_z(_HAND_TURN_RAD)
# Frame (4, 4) of ``fr3_hand_tcp`` in the flange.
FLANGE_TO_TCP = _turn_z(_HAND_TURN_RAD) @ _fixed_part(0.0, _TCP_M, 0.0)


def _chain(q_rad: ArrayLike) -> tuple[list[_Frame], _Frame]:
    """Frames of the joints and of ``fr3_hand_tcp`` in plain numbers: a tenth of the price of matrix products for one arm."""
    q = np.asarray(q_rad, dtype=np.float64)
    if q.shape != _SHAPE:
        raise ValueError(f"{JOINTS} joint angles are needed, not an array of shape {q.shape}")
    xx, xy, xz, yx, yy, yz, zx, zy, zz = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0
    ox = oy = oz = 0.0
    frames: list[_Frame] = []
    for (a, d, quarter), angle in zip(_CHAIN, q.tolist(), strict=True):
        ox, oy, oz = ox + a * xx, oy + a * xy, oz + a * xz
        if quarter > 0:
            yx, yy, yz, zx, zy, zz = zx, zy, zz, -yx, -yy, -yz
        elif quarter < 0:
            yx, yy, yz, zx, zy, zz = -zx, -zy, -zz, yx, yy, yz
        if d != 0.0:
            ox, oy, oz = ox + d * zx, oy + d * zy, oz + d * zz
        c, s = math.cos(angle), math.sin(angle)
        xx, yx = c * xx + s * yx, c * yx - s * xx
        xy, yy = c * xy + s * yy, c * yy - s * xy
        xz, yz = c * xz + s * yz, c * yz - s * xz
        frames.append((xx, xy, xz, yx, yy, yz, zx, zy, zz, ox, oy, oz))
    ox, oy, oz = ox + _TOOL_M * zx, oy + _TOOL_M * zy, oz + _TOOL_M * zz
    c, s = _TOOL_COS, _TOOL_SIN
    xx, yx = c * xx + s * yx, c * yx - s * xx
    xy, yy = c * xy + s * yy, c * yy - s * xy
    xz, yz = c * xz + s * yz, c * yz - s * xz
    return frames, (xx, xy, xz, yx, yy, yz, zx, zy, zz, ox, oy, oz)


def _pose(frame: _Frame) -> tuple[FloatArray, FloatArray]:
    xx, xy, xz, yx, yy, yz, zx, zy, zz, ox, oy, oz = frame
    return np.array((ox, oy, oz)), np.array(((xx, yx, zx), (xy, yy, zy), (xz, yz, zz)))


def forward(q_rad: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Position (3,) [m] and rotation matrix (3, 3) of ``fr3_hand_tcp`` in ``fr3_link0`` at joint angles (7,)."""
    return _pose(_chain(q_rad)[1])


def jacobian(q_rad: ArrayLike) -> FloatArray:
    """Geometric Jacobian (6, 7) of ``fr3_hand_tcp``: joint velocities to linear [m/s], then angular [rad/s] velocity, in the base frame."""
    return forward_and_jacobian(q_rad)[2]


def forward_and_jacobian(q_rad: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Both :func:`forward` and :func:`jacobian` for the price of one."""
    frames, tool = _chain(q_rad)
    tx, ty, tz = tool[9:]
    columns = []
    for _, _, _, _, _, _, ax, ay, az, ox, oy, oz in frames:
        rx, ry, rz = tx - ox, ty - oy, tz - oz
        columns.append((ay * rz - az * ry, az * rx - ax * rz, ax * ry - ay * rx, ax, ay, az))
    return *_pose(tool), np.array(columns).T


def pose_error(position_m: FloatArray, rotation: FloatArray, to_position_m: FloatArray, to_rotation: FloatArray) -> FloatArray:
    """Twist (6,) that leads in one second from a pose (3,), (3, 3) to another: position difference, then rotation vector, in the base frame."""
    error = np.empty(6)
    error[:3] = to_position_m - position_m
    error[3:] = turn_between(rotation, to_rotation)
    return error


def joint_velocity(q_rad: ArrayLike, twist: ArrayLike, damping: float, posture_rad: ArrayLike, posture_gain_per_s: float) -> FloatArray:
    """Joint velocities (7,) [rad/s] for an end-effector ``twist`` (6,) at joint angles (7,).

    Damped least squares, J^T (J J^T + damping^2 I)^-1 (Wampler 1986; Nakamura and Hanafusa 1986), plus a pull towards ``posture_rad`` (7,) in the
    null space of the Jacobian. ``damping`` bounds the joint velocities near singularities by |twist| / (2 damping).
    """
    return joint_velocity_of(jacobian(q_rad), np.asarray(q_rad, dtype=np.float64), twist, damping, posture_rad, posture_gain_per_s)


def joint_velocity_of(
    jac: FloatArray, q_rad: FloatArray, twist: ArrayLike, damping: float, posture_rad: ArrayLike, posture_gain_per_s: float
) -> FloatArray:
    """:func:`joint_velocity` with the Jacobian (6, 7) at hand."""
    transposed = jac.T
    gram = jac @ transposed
    pull = posture_gain_per_s * (np.asarray(posture_rad, dtype=np.float64) - q_rad)
    # A projector with next to no damping keeps the posture from disturbing the end effector.
    sides = np.empty((2, 6, 1))
    sides[0, :, 0], sides[1, :, 0] = jac @ pull, twist
    kept, least = np.linalg.solve(gram + _diagonals(damping), sides)[:, :, 0]
    return np.asarray(transposed @ least + (pull - transposed @ kept))


@cache
def _diagonals(damping: float) -> FloatArray:
    """What is added to the two Gram matrices (2, 6, 6) of :func:`joint_velocity_of`."""
    return np.stack([_PROJECTOR_DAMPING**2 * _EYE, damping**2 * _EYE])
