"""A six-axis device as a source of actions: its deflection integrated into an end-effector target. Pure; time comes in as nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cdp.actions import EEF_WIDTH, eef_row
from cdp.geometry import FloatArray, matrix_to_quat, matrix_to_rotvec, quat_to_matrix, rotvec_to_matrix
from cdp_teleop_recorder.authority import NS_PER_S, Authority
from cdp_teleop_recorder.gripper_button import GripperButton
from cdp_teleop_recorder.guard_watch import GuardWatch, Known
from cdp_teleop_recorder.shaping import Shaping
from cdp_teleop_recorder.teleop_config import TeleopConfig

PERIOD_S = 0.1  # the policy rate: what is recorded is what the policy will be asked for


@dataclass(frozen=True, eq=False)
class TeleopAction:
    """What to send: ``rows`` (1, 10), or (0, 10) for a keep-alive; what else goes with it, and why nothing is driven where that needs saying."""

    rows: FloatArray
    deadman: bool
    authority: bool = False
    intervention: bool = False
    problem: str = ""


class TeleopCore:
    """See the module. Not thread-safe: one caller."""

    def __init__(self, config: TeleopConfig) -> None:
        self.config = config
        self.authority = Authority(config.takeover_window_s)
        self._box, self._shaping, self._gripper = config.box, Shaping(config), GripperButton(config)
        self._guard = GuardWatch()
        self._deadman = self._await_release = False
        self._axes: FloatArray = np.zeros(6)
        self._axes_ns: int | None = None
        self._measured: Known | None = None
        self._measured_width_m: float | None = None
        self._target: Known | None = None
        self._pressed_ns: int | None = None
        self._last_ns: int | None = None

    def on_axes(self, now_ns: int, axes: ArrayLike) -> None:
        """Deflections (6,) in [-1, 1] of the device, along and about its axes."""
        self._axes, self._axes_ns = np.asarray(axes, dtype=np.float64), now_ns

    def on_buttons(self, deadman: bool, gripper: bool, takeover: bool = False) -> None:
        """State of the buttons."""
        self._await_release = self._await_release and deadman
        self._deadman = deadman and not self._await_release
        self._gripper.on_button(gripper, self._deadman)
        self.authority.on_button(takeover)

    def on_device_lost(self) -> bool:
        """Nothing holds the deadman any more. It must be seen released before it counts again. Returns whether it was held."""
        held, self._deadman, self._await_release = self._deadman, False, True
        self._axes_ns = None
        if held:
            self.authority.keep_after_loss()
        return held

    def on_measured_pose(self, stamp_ns: int, position_m: ArrayLike, quat_xyzw: ArrayLike) -> None:
        """Measured end-effector position (3,) and quaternion (4,) in the base frame; one that is not finite is ignored."""
        values = np.concatenate([np.asarray(position_m, dtype=np.float64), np.asarray(quat_xyzw, dtype=np.float64)])
        if np.all(np.isfinite(values)) and np.linalg.norm(values[3:]) > 0.5:
            self._measured = Known(stamp_ns, values[:3], quat_to_matrix(values[3:]))

    def on_measured_width(self, width_m: float) -> None:
        """Measured opening of the gripper [m]."""
        if np.isfinite(width_m):
            self._measured_width_m = float(width_m)

    def on_guard_target(self, stamp_ns: int, position_m: ArrayLike, quat_xyzw: ArrayLike, width_m: float, policy: bool = False) -> None:
        """The guard's commanded target while it is engaged; ``policy`` where that is the policy's."""
        self._guard.see(Known(stamp_ns, np.asarray(position_m, dtype=np.float64), quat_to_matrix(quat_xyzw)), float(width_m), policy)
        if policy:
            self.authority.on_policy_followed(stamp_ns)

    def on_guard_disengaged(self) -> None:
        """The guard commands nothing."""
        self._guard = GuardWatch()

    def tick(self, now_ns: int) -> TeleopAction:
        """The action of this period, for one period from now."""
        if self._last_ns is not None and now_ns < self._last_ns:
            self._forget_time()
        elapsed_s = PERIOD_S if self._last_ns is None else min((now_ns - self._last_ns) / NS_PER_S, 2 * PERIOD_S)
        self._last_ns = now_ns
        return self._action(now_ns, elapsed_s)

    def stop(self) -> TeleopAction:
        """What to send at once when the device is lost."""
        return self._action(self._last_ns or 0, 0.0)

    def _action(self, now_ns: int, elapsed_s: float) -> TeleopAction:
        nothing = np.zeros((0, EEF_WIDTH))
        if self._deadman and self._fresh(self._measured, now_ns) is None and self._target is None:
            return self._answer(nothing, now_ns, False, "no measured pose: the deadman has no effect until it comes")
        if not self._deadman:
            self._target = self._pressed_ns = None
            self._gripper.rest()
            return self._answer(nothing, now_ns, False)
        if self._target is None:
            self._target = self._start(now_ns)
            if self._target is None:
                return self._answer(nothing, now_ns, True)
        self._target = self._moved(self._target, now_ns, elapsed_s)
        row = eef_row(self._target.position_m, matrix_to_quat(self._target.rotation), self._gripper.apply())
        return self._answer(row[None], now_ns, True)

    def _answer(self, rows: FloatArray, now_ns: int, deadman: bool, problem: str = "") -> TeleopAction:
        self.authority.update(now_ns, deadman)
        return TeleopAction(rows, deadman, self.authority.held, self.authority.intervention, problem)

    def _forget_time(self) -> None:
        """Time went back: all that carries a stamp of before is void. The hand is still where it was on the buttons."""
        self._axes_ns = self._last_ns = self._pressed_ns = None
        self._measured = self._target = None
        self._guard = GuardWatch()
        self.authority.forget_time()

    def _fresh(self, known: Known | None, now_ns: int) -> Known | None:
        timeout_ns = round(self.config.state_timeout_s * NS_PER_S)
        return known if known is not None and now_ns - known.stamp_ns <= timeout_ns else None

    def _start(self, now_ns: int) -> Known | None:
        """Where a press of the deadman begins; None while the guard brakes from what it did before, since its target is on its way still.

        It begins at the guard's target, so that the arm does not move; at the measured pose where the guard has none, or where the arm was pushed
        further away than the leash.
        """
        measured, commanded = self._measured, self._fresh(self._guard.target, now_ns)
        assert measured is not None
        if self._pressed_ns is None:
            self._pressed_ns = now_ns
        if commanded is not None and not self._guard.at_rest(now_ns - self._pressed_ns):
            return None
        if commanded is not None and self._within_leash(commanded, measured):
            self._gripper.begin(self._measured_width_m if self._guard.width_m is None else self._guard.width_m)
            return commanded
        self._gripper.begin(self._measured_width_m)
        return measured

    def _within_leash(self, target: Known, measured: Known) -> bool:
        turn = matrix_to_rotvec(target.rotation @ measured.rotation.T)
        away_m = float(np.linalg.norm(target.position_m - measured.position_m))
        # The guard's own leash is a little longer than ours; what it allows is no push.
        return away_m <= 1.5 * self.config.leash_m and float(np.linalg.norm(turn)) <= 1.5 * self.config.leash_rad

    def _moved(self, target: Known, now_ns: int, elapsed_s: float) -> Known:
        config, measured = self.config, self._fresh(self._measured, now_ns)
        late = self._axes_ns is None or now_ns - self._axes_ns > round(config.twist_timeout_s * NS_PER_S)
        if late or measured is None:
            return target
        linear, angular = self._shaping.velocity(self._axes, target.rotation)
        position = _leashed(target.position_m + elapsed_s * linear, target.position_m, measured.position_m, config.leash_m)
        ahead = matrix_to_rotvec(target.rotation @ measured.rotation.T)
        # Rotation vectors about the measured rotation: the leash is a ball in them too.
        turned = matrix_to_rotvec(rotvec_to_matrix(elapsed_s * angular) @ target.rotation @ measured.rotation.T)
        rotation = rotvec_to_matrix(_leashed(turned, ahead, np.zeros(3), config.leash_rad)) @ measured.rotation
        return Known(now_ns, np.clip(position, self._box.low_m, self._box.high_m), rotation)


def _leashed(position: FloatArray, before: FloatArray, measured: FloatArray, leash_m: float) -> FloatArray:
    """``position`` (3,), drawn in to the leash about ``measured`` or, where it was ``before`` already further, to that distance."""
    allowed = max(leash_m, float(np.linalg.norm(before - measured)))
    ahead = position - measured
    distance = float(np.linalg.norm(ahead))
    return position if distance <= allowed else measured + ahead * (allowed / distance)
