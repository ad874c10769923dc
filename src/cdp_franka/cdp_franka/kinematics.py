"""Forward and differential kinematics of the FR3 and the Panda, which share one geometry.

Modified Denavit-Hartenberg parameters (Craig) as published by Franka Robotics; the flange is 0.107 m beyond joint 7, the hand is turned by -45
degrees about the flange's z axis, and ``fr3_hand_tcp`` lies 0.1034 m beyond the hand's origin.
"""

from __future__ import annotations

import math

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
_TOOL = HAND @ _fixed_part(0.0, _TCP_M, 0.0)
# Frame (4, 4) of ``fr3_hand_tcp`` in the flange.
FLANGE_TO_TCP = _turn_z(_HAND_TURN_RAD) @ _fixed_part(0.0, _TCP_M, 0.0)


def joint_frames(q_rad: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Frames (7, 4, 4) of the joints and (4, 4) of ``fr3_hand_tcp``, in ``fr3_link0``, at joint angles (7,)."""
    q = np.asarray(q_rad, dtype=np.float64)
    if q.shape != (JOINTS,):
        raise ValueError(f"{JOINTS} joint angles are needed, not an array of shape {q.shape}")
    frames = np.empty((JOINTS, 4, 4))
    frame = np.eye(4)
    for i, link in enumerate(LINKS):
        frame = frame @ link
        # Times a rotation about z: only the first two columns change.
        c, s = math.cos(q[i]), math.sin(q[i])
        x = frame[:, 0].copy()
        frame[:, 0] = c * x + s * frame[:, 1]
        frame[:, 1] = c * frame[:, 1] - s * x
        frames[i] = frame
    return frames, frame @ _TOOL


def forward(q_rad: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Position (3,) [m] and rotation matrix (3, 3) of ``fr3_hand_tcp`` in ``fr3_link0`` at joint angles (7,)."""
    tcp = joint_frames(q_rad)[1]
    return tcp[:3, 3], tcp[:3, :3]


def jacobian(q_rad: ArrayLike) -> FloatArray:
    """Geometric Jacobian (6, 7) of ``fr3_hand_tcp``: joint velocities to linear [m/s], then angular [rad/s] velocity, in the base frame."""
    return forward_and_jacobian(q_rad)[2]


def forward_and_jacobian(q_rad: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Both :func:`forward` and :func:`jacobian` for the price of one."""
    frames, tcp = joint_frames(q_rad)
    axes, origins = frames[:, :3, 2], frames[:, :3, 3]
    (ax, ay, az), (rx, ry, rz) = axes.T, (tcp[:3, 3] - origins).T
    return tcp[:3, 3], tcp[:3, :3], np.array([ay * rz - az * ry, az * rx - ax * rz, ax * ry - ay * rx, ax, ay, az])


def pose_error(position_m: FloatArray, rotation: FloatArray, to_position_m: FloatArray, to_rotation: FloatArray) -> FloatArray:
    """Twist (6,) that leads in one second from a pose (3,), (3, 3) to another: position difference, then rotation vector, in the base frame."""
    return np.concatenate([to_position_m - position_m, turn_between(rotation, to_rotation)])


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
    gram = jac @ jac.T
    pull = posture_gain_per_s * (np.asarray(posture_rad, dtype=np.float64) - q_rad)
    # A projector with next to no damping keeps the posture from disturbing the end effector.
    free = pull - jac.T @ np.linalg.solve(gram + _PROJECTOR_DAMPING**2 * _EYE, jac @ pull)
    return np.asarray(jac.T @ np.linalg.solve(gram + damping**2 * _EYE, np.asarray(twist, dtype=np.float64)) + free)
