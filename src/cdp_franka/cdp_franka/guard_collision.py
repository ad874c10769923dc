"""Whether the stop of what is commanded would end too close to the arm itself or to the table.

Looked at is where the quickest stop would end, not where the command is: what is refused ends no further than one look beyond a stop that was free,
and the margins cover that and what lies on the way. With the joint interface those joint angles are commanded; with the Cartesian one they are
predicted: inverse kinematics of the pose at rest, begun at the last prediction and drawn to the measured joint angles in the null space.
"""

from __future__ import annotations

import math

import numpy as np

from cdp.geometry import FloatArray
from cdp_franka.arm_capsules import ArmModel, Clearance
from cdp_franka.chunk import Pose, to_ns
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import Finding, Reason
from cdp_franka.kinematics import forward_and_jacobian, joint_velocity_of, pose_error

# Between two looks the stop's end moves 5 mm at the default speed.
_PERIOD_S = 0.02
# An arm that is inside a margin may stay and leave; it comes no closer than this to where it was at best.
_GIVE_M = 0.002
_LOST_RAD = 0.5


class CollisionWatch:
    """Remembers how close the arm may come: the margins, or where it is when it begins inside of them."""

    def __init__(self, config: GuardConfig) -> None:
        """Builds the model once."""
        self._config, self._model = config, ArmModel(config.table_z_m)
        fingers = config.fingers_margin_m if config.has_gripper else -math.inf
        self._margins = (config.collision_margin_m, config.table_margin_m, fingers)
        self._floors: list[float] | None = None
        self._looked_ns: int | None = None
        self._predicted: FloatArray | None = None

    def restart(self) -> None:
        """Begin anew from where the arm is: it may leave a place that is too close."""
        self._floors = self._looked_ns = self._predicted = None

    def due(self, now_ns: int) -> bool:
        """Whether it is time to look again."""
        return self._looked_ns is None or not 0 <= now_ns - self._looked_ns < to_ns(_PERIOD_S)

    def of_joints(self, at_rest_rad: FloatArray, measured_rad: FloatArray, opening_m: float, now_ns: int) -> Finding | None:
        """The complaint about joint angles (7,) at which the commanded motion would come to rest; None where there is none.

        ``opening_m``: the wider of the gripper's commanded and measured opening [m].
        """
        self._looked_ns = now_ns
        return self._judge(at_rest_rad, measured_rad, opening_m)

    def of_pose(self, at_rest: Pose, measured_rad: FloatArray, opening_m: float, now_ns: int) -> Finding | None:
        """The same of a pose, for which joint angles are predicted."""
        self._looked_ns = now_ns
        q = self._predicted
        if q is None or float(np.max(np.abs(q - measured_rad))) > _LOST_RAD:
            q = measured_rad
        position, rotation, jac = forward_and_jacobian(q)
        step = pose_error(position, rotation, at_rest.position_m, at_rest.rotation)
        self._predicted = q + joint_velocity_of(jac, q, step, self._config.ik_damping, measured_rad, 1.0)
        return self._judge(self._predicted, measured_rad, opening_m)

    def _judge(self, ahead_rad: FloatArray, measured_rad: FloatArray, opening_m: float) -> Finding | None:
        ahead = self._model.clearances(ahead_rad, opening_m)
        if self._floors is not None and all(c.metres >= m for c, m in zip(ahead, self._margins, strict=True)):
            self._floors = list(self._margins)
            return None
        here = self._model.clearances(measured_rad, opening_m)
        reached = [min(m, c.metres - _GIVE_M) for m, c in zip(self._margins, here, strict=True)]
        self._floors = reached if self._floors is None else [max(old, new) for old, new in zip(self._floors, reached, strict=True)]
        for reason, clearance, floor in zip((Reason.SELF_COLLISION, Reason.TABLE, Reason.TABLE), ahead, self._floors, strict=True):
            if clearance.metres < floor:
                return Finding(reason, _words(clearance, floor))
        return None


def _words(clearance: Clearance, floor: float) -> str:
    return f"{clearance.between} would come within {1e3 * max(clearance.metres, 0.0):.0f} mm of one another; at least {1e3 * floor:.0f} mm are kept"
