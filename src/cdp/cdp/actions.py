"""The layout of one action, the same for operator, recorder, training, policy and guard.

End-effector space: ``x y z`` [m] and 6-D rotation of fr3_hand_tcp in the base frame, gripper width [m]: 10 numbers.
Joint space: seven joint angles [rad], gripper width [m]: 8 numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray, matrix_to_rot6d, quat_to_matrix, rot6d_to_matrix

EEF_WIDTH = 10
JOINT_WIDTH = 8
POSITION = slice(0, 3)
ROT6D = slice(3, 9)
GRIPPER = slice(9, 10)

GRIPPER_MAX_WIDTH_M = 0.08


def gripper_to_width_m(command: ArrayLike) -> FloatArray:
    """Opening [m] of a normalised gripper command: -1 open (0.08 m), +1 closed (0 m); robosuite's sign."""
    return 0.5 * GRIPPER_MAX_WIDTH_M * (1.0 - np.asarray(command, dtype=np.float64))


def width_m_to_gripper(width_m: ArrayLike) -> FloatArray:
    """Inverse of :func:`gripper_to_width_m`."""
    return 1.0 - np.asarray(width_m, dtype=np.float64) / (0.5 * GRIPPER_MAX_WIDTH_M)


def eef_row(position_m: ArrayLike, quat_xyzw: ArrayLike, gripper_width_m: ArrayLike) -> FloatArray:
    """Action rows (..., 10) from positions (..., 3), quaternions (..., 4) and widths (...,) or (..., 1)."""
    position = np.asarray(position_m, dtype=np.float64)
    width = np.asarray(gripper_width_m, dtype=np.float64).reshape(*position.shape[:-1], 1)
    return np.concatenate([position, matrix_to_rot6d(quat_to_matrix(quat_xyzw)), width], axis=-1)


def eef_pose(row: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Positions (..., 3) [m], rotation matrices (..., 3, 3) and widths (...,) [m] of action rows (..., 10)."""
    r = np.asarray(row, dtype=np.float64)
    if r.shape[-1] != EEF_WIDTH:
        raise ValueError(f"an end-effector action has {EEF_WIDTH} numbers, not {r.shape[-1]}")
    return r[..., POSITION], rot6d_to_matrix(r[..., ROT6D]), r[..., GRIPPER][..., 0]
