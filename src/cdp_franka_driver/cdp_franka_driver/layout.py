"""What the node sends to the 1 kHz loop as one row of numbers, which the loop takes whole.

A target begins with a number that differs from the last one's, and the time in which to be there; number 0 is none. Joints: q, dq, ddq, each (7,).
Pose of ``fr3_hand_tcp`` in the base frame: position (3,), quaternion wxyz (4,), linear and angular velocity (3,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray

NUMBER, DURATION = 0, 1
Q, DQ, DDQ, JOINT_SIZE = 2, 9, 16, 23
POSITION, QUAT, LINEAR, ANGULAR, POSE_SIZE = 2, 5, 9, 12, 15


def joint_target(duration_s: float, q_rad: ArrayLike, dq_rad_s: ArrayLike, ddq_rad_s2: ArrayLike) -> FloatArray:
    """Row (23,) without its number."""
    return np.concatenate([[0.0, duration_s], q_rad, dq_rad_s, ddq_rad_s2])


def pose_target(duration_s: float, position_m: ArrayLike, quat_wxyz: ArrayLike, linear_m_s: ArrayLike, angular_rad_s: ArrayLike) -> FloatArray:
    """Row (15,) without its number."""
    return np.concatenate([[0.0, duration_s], position_m, quat_wxyz, linear_m_s, angular_rad_s])
