"""What of the guard's targets reaches the 1 kHz loop: only what continues the last one, or at the start what lies at the arm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cdp.config import setting
from cdp.geometry import FloatArray
from cdp_franka.limits import FR3, JOINTS
from cdp_franka_driver import layout

_NS_PER_S = 1_000_000_000
# A target is never to be reached sooner than this, however late it comes [s].
_SOONEST_S = 0.004


@dataclass(frozen=True)
class TargetConfig:
    """Which targets are refused."""

    max_start_rad: float = setting(0.02, low=0.005, high=0.5, help="joint: the first target lies within this of the arm [rad]")
    max_start_m: float = setting(0.01, low=0.001, high=0.1, help="cartesian: the first target lies within this of the arm [m]")
    max_step_rad: float = setting(0.08, low=0.005, high=0.3, help="and each within this of the one before; for a turn too [rad]")
    max_step_m: float = setting(0.03, low=0.001, high=0.1, help="cartesian: and each within this of the one before [m]")
    max_age_s: float = setting(0.1, low=0.02, high=1.0, help="a target older than this is refused [s]")


class RefusedError(Exception):
    """Why a target is not followed, in words."""


class Targets:
    """Makes rows of :mod:`layout` of targets. ``delay_s``: a target is reached this long after its stamp."""

    def __init__(self, config: TargetConfig, delay_s: float) -> None:
        self._config, self._delay_s = config, delay_s
        self._q: FloatArray | None = None
        self._pose: tuple[FloatArray, FloatArray, int] | None = None
        self._started = False

    def begin(self, q_rad: FloatArray, position_m: FloatArray, quat_wxyz: FloatArray) -> None:
        """The first target is to lie at this measured arm."""
        self._started = False
        self._q, self._pose = q_rad, (position_m, quat_wxyz, 0)

    def restart(self) -> None:
        """Control begins: the next target is a first one."""
        self._started = False

    @property
    def started(self) -> bool:
        """Whether a target has been accepted since control began."""
        return self._started

    def joints(self, q_rad: FloatArray, dq_rad_s: FloatArray, ddq_rad_s2: FloatArray, stamp_ns: int, now_ns: int) -> FloatArray:
        """Row of a joint target, each array (7,). Raises RefusedError."""
        for values in (q_rad, dq_rad_s, ddq_rad_s2):
            if values.shape != (JOINTS,) or not np.isfinite(values).all():
                raise RefusedError("a target needs seven finite positions, velocities and accelerations")
        duration_s = self._duration_s(stamp_ns, now_ns)
        beyond = FR3.position_violation(q_rad, 0.0)
        if beyond is not None:
            raise RefusedError(beyond)
        if self._q is not None:
            self._near(float(np.abs(q_rad - self._q).max()), self._config.max_step_rad if self._started else self._config.max_start_rad, "rad")
        self._q, self._started = q_rad, True
        return layout.joint_target(duration_s, q_rad, dq_rad_s, ddq_rad_s2)

    def pose(self, position_m: FloatArray, quat_wxyz: FloatArray, stamp_ns: int, now_ns: int) -> FloatArray:
        """Row of a pose target, (3,) and (4,); its velocity is that from the one before. Raises RefusedError."""
        if not (np.isfinite(position_m).all() and np.isfinite(quat_wxyz).all()) or abs(np.linalg.norm(quat_wxyz) - 1.0) > 1e-3:
            raise RefusedError("a target needs a finite position and a unit quaternion")
        duration_s = self._duration_s(stamp_ns, now_ns)
        linear, angular = np.zeros(3), np.zeros(3)
        if self._pose is not None:
            before_m, before_quat, before_ns = self._pose
            turn = _turn(before_quat, quat_wxyz)
            config = self._config
            self._near(float(np.linalg.norm(position_m - before_m)), config.max_step_m if self._started else config.max_start_m, "m")
            self._near(float(np.linalg.norm(turn)), config.max_step_rad if self._started else config.max_start_rad, "rad")
            since_s = (stamp_ns - before_ns) / _NS_PER_S
            if self._started and _SOONEST_S <= since_s <= self._config.max_age_s:
                linear, angular = (position_m - before_m) / since_s, turn / since_s
        self._pose, self._started = (position_m, quat_wxyz, stamp_ns), True
        return layout.pose_target(duration_s, position_m, quat_wxyz, linear, angular)

    def _duration_s(self, stamp_ns: int, now_ns: int) -> float:
        age_s = (now_ns - stamp_ns) / _NS_PER_S
        if abs(age_s) > self._config.max_age_s:
            raise RefusedError(
                f"its stamp is {age_s:.3f} s old, max_age_s is {self._config.max_age_s}: this machine is too busy, or its clock is not the guard's"
            )
        return min(max(self._delay_s - age_s, _SOONEST_S), 2.0 * self._delay_s)

    def _near(self, distance: float, limit: float, unit: str) -> None:
        if distance > limit:
            what = "the target before" if self._started else "the arm"
            raise RefusedError(f"it is {distance:.4f} {unit} from {what}, more than {limit} {unit}")


def _turn(start: FloatArray, to: FloatArray) -> FloatArray:
    """Rotation vector (3,) of the base frame between quaternions wxyz (4,)."""
    w = float(start @ to)
    a, b = start[0], start[1:]
    vector = a * to[1:] - to[0] * b - np.cross(to[1:], b)
    if w < 0.0:
        w, vector = -w, -vector
    sine = float(np.linalg.norm(vector))
    return np.asarray(vector * (2.0 if sine < 1e-9 else 2.0 * math.atan2(sine, w) / sine))
