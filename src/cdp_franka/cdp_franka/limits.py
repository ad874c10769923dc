"""What the arm can do: joint and Cartesian limits of the FR3 and the Panda (FER), and the workspace box.

Sources: Franka Robotics, "Robot and interface specifications" (control parameters), and libfranka's ``rate_limiting.h`` for the FR3 bound on
joint velocity that shrinks towards the stops::

    upper_i(q) = min(dq_max_i, max(0, -offset_i + sqrt(max(0, 2 * deceleration_i * (stop_max_i - q_i)))))

and its mirror image for the lower bound. The Panda publishes constant velocity bounds only; for it the square root above, with zero offset and a
quarter of the acceleration limit, is our own braking bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray

JOINTS = 7


def _row(*values: float) -> FloatArray:
    row = np.array(values, dtype=np.float64)
    row.flags.writeable = False
    return row


@dataclass(frozen=True, eq=False)
class JointLimits:
    """Limits of the seven joints, each array (7,): rad, rad/s, rad/s^2, rad/s^3, N m.

    ``stop_*``, ``deceleration_rad_s2`` and ``offset_rad_s`` shape the velocity bound near the stops (see the module's formula).
    """

    name: str
    joint_prefix: str
    q_min_rad: FloatArray
    q_max_rad: FloatArray
    dq_max_rad_s: FloatArray
    ddq_max_rad_s2: FloatArray
    dddq_max_rad_s3: FloatArray
    torque_max_nm: FloatArray
    stop_min_rad: FloatArray
    stop_max_rad: FloatArray
    deceleration_rad_s2: FloatArray
    offset_rad_s: FloatArray

    @property
    def joint_names(self) -> tuple[str, ...]:
        """``fr3_joint1`` .. ``fr3_joint7`` or the Panda's."""
        return tuple(f"{self.joint_prefix}_joint{i + 1}" for i in range(JOINTS))

    def velocity_bounds_rad_s(self, q_rad: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Lower (<= 0) and upper (>= 0) velocity bounds (..., 7) at the joint angles (..., 7)."""
        q = np.asarray(q_rad, dtype=np.float64)
        gain = 2.0 * self.deceleration_rad_s2
        upper = np.maximum(0.0, np.sqrt(np.maximum(0.0, gain * (self.stop_max_rad - q))) - self.offset_rad_s)
        lower = np.maximum(0.0, np.sqrt(np.maximum(0.0, gain * (q - self.stop_min_rad))) - self.offset_rad_s)
        return -np.minimum(self.dq_max_rad_s, lower), np.minimum(self.dq_max_rad_s, upper)

    def position_violation(self, q_rad: ArrayLike, margin_rad: float) -> str | None:
        """Which joint (7,) is beyond its limit less ``margin_rad`` and by how much, in words; None where all are within."""
        q = np.asarray(q_rad, dtype=np.float64)
        low, high = _allowed_rad(self, margin_rad)
        if all([least <= x <= most for least, x, most in zip(low, q.tolist(), high, strict=True)]):
            return None
        excess = np.maximum(self.q_min_rad + margin_rad - q, q - (self.q_max_rad - margin_rad))
        worst = int(np.argmax(excess))
        if excess[worst] <= 0.0:
            return None
        return f"{self.joint_names[worst]} is at {q[worst]:.4f} rad, {excess[worst]:.4f} rad beyond [{low[worst]:.4f}, {high[worst]:.4f}]"


@cache
def _allowed_rad(limits: JointLimits, margin_rad: float) -> tuple[list[float], list[float]]:
    return (limits.q_min_rad + margin_rad).tolist(), (limits.q_max_rad - margin_rad).tolist()


FR3 = JointLimits(
    name="fr3",
    joint_prefix="fr3",
    q_min_rad=_row(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
    q_max_rad=_row(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    dq_max_rad_s=_row(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
    ddq_max_rad_s2=_row(*[10.0] * JOINTS),
    dddq_max_rad_s3=_row(*[5000.0] * JOINTS),
    torque_max_nm=_row(87, 87, 87, 87, 12, 12, 12),
    stop_min_rad=_row(-2.7501, -1.7918, -2.9065, -3.0481, -2.8101, 0.54092, -3.0196),
    stop_max_rad=_row(2.7501, 1.7918, 2.9065, -0.1458, 2.8101, 4.5205, 3.0196),
    deceleration_rad_s2=_row(6.0, 2.585, 3.5, 4.0, 17.0, 5.5, 17.0),
    offset_rad_s=_row(0.30, 0.20, 0.20, 0.30, 0.35, 0.35, 0.35),
)

_PANDA_MIN = _row(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973)
_PANDA_MAX = _row(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973)
PANDA = JointLimits(
    name="panda",
    joint_prefix="panda",
    q_min_rad=_PANDA_MIN,
    q_max_rad=_PANDA_MAX,
    dq_max_rad_s=_row(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    ddq_max_rad_s2=_row(15, 7.5, 10, 12.5, 15, 20, 20),
    dddq_max_rad_s3=_row(7500, 3750, 5000, 6250, 7500, 10000, 10000),
    torque_max_nm=_row(87, 87, 87, 87, 12, 12, 12),
    stop_min_rad=_PANDA_MIN,
    stop_max_rad=_PANDA_MAX,
    deceleration_rad_s2=_row(3.75, 1.875, 2.5, 3.125, 3.75, 5, 5),
    offset_rad_s=_row(*[0.0] * JOINTS),
)

ROBOTS = {"fr3": FR3, "panda": PANDA}


@dataclass(frozen=True)
class CartesianLimits:
    """Limits of the end effector's motion: m/s, m/s^2, m/s^3 and rad/s, rad/s^2, rad/s^3."""

    speed_m_s: float = 3.0
    acceleration_m_s2: float = 9.0
    jerk_m_s3: float = 4500.0
    turn_rad_s: float = 2.5
    turn_acceleration_rad_s2: float = 17.0
    turn_jerk_rad_s3: float = 8500.0


FR3_CARTESIAN = CartesianLimits()


@dataclass(frozen=True)
class WorkspaceBox:
    """Where the end effector may be, in the robot's base frame [m]: three ranges, and a table plane that it never passes.

    The lowest height is the higher of ``z_m[0]`` and ``table_z_m``; a table at 0.0 m counts like any other. Raises ValueError for an empty or
    non-finite box.
    """

    x_m: tuple[float, float]
    y_m: tuple[float, float]
    z_m: tuple[float, float]
    table_z_m: float

    def __post_init__(self) -> None:
        for axis, low, high in zip("xyz", self.low_m, self.high_m, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"workspace {axis}: [{low}, {high}] m is not a range from a lower to a higher finite number")

    @cached_property
    def low_m(self) -> FloatArray:
        """Lower corner (3,)."""
        return _row(self.x_m[0], self.y_m[0], max(self.z_m[0], self.table_z_m))

    @cached_property
    def high_m(self) -> FloatArray:
        """Upper corner (3,)."""
        return _row(self.x_m[1], self.y_m[1], self.z_m[1])

    def violation(self, position_m: ArrayLike, tolerance_m: float = 0.0) -> str | None:
        """Which axis of the position (3,) is outside by more than ``tolerance_m`` and by how much, in words; None where inside."""
        p = np.asarray(position_m, dtype=np.float64)
        x, y, z = p.tolist()
        if self.x_m[0] <= x <= self.x_m[1] and self.y_m[0] <= y <= self.y_m[1] and self.z_m[0] <= z <= self.z_m[1] and z >= self.table_z_m:
            return None
        low, high = self.low_m, self.high_m
        excess = np.maximum(low - p, p - high)
        worst = int(np.argmax(excess))
        if excess[worst] <= tolerance_m:
            return None
        return f"{'xyz'[worst]} = {p[worst]:.4f} m is {excess[worst]:.4f} m outside [{low[worst]:.4f}, {high[worst]:.4f}]"
