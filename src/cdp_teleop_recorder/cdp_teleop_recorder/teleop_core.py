"""A six-axis device as a source of actions: its twist integrated into an end-effector target. Pure; time comes in as nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cdp.actions import EEF_WIDTH, eef_row
from cdp.config import ConfigError, setting
from cdp.geometry import FloatArray, matrix_to_quat, matrix_to_rotvec, quat_to_matrix, rotvec_to_matrix
from cdp_franka.limits import WorkspaceBox

NS_PER_S = 1_000_000_000
PERIOD_S = 0.1  # the policy rate: what is recorded is what the policy will be asked for


@dataclass(frozen=True)
class TeleopConfig:
    """Settings of :class:`TeleopCore`; ranges are closed."""

    base_frame: str = setting("fr3_link0", help="frame of the twist and of the targets")
    linear_scale_m_s: float = setting(0.20, low=0.005, high=0.5, help="speed at full deflection [m/s]")
    angular_scale_rad_s: float = setting(0.8, low=0.02, high=2.0, help="rotation at full deflection [rad/s]")
    dead_zone: float = setting(0.05, low=0.0, high=0.5, help="deflection that counts as none, of 1")
    twist_timeout_s: float = setting(0.3, low=0.05, high=2.0, help="a twist older than this counts as zero [s]")
    state_timeout_s: float = setting(0.5, low=0.05, high=2.0, help="without a measured pose this new the target stays where it is [s]")
    leash_m: float = setting(0.08, low=0.005, high=0.3, help="the target runs no further ahead of the measured position [m]")
    leash_rad: float = setting(0.4, low=0.02, high=1.5, help="the target turns no further ahead of the measured rotation [rad]")
    open_width_m: float = setting(0.08, low=0.0, high=0.2, help="gripper width when toggled open [m]")
    closed_width_m: float = setting(0.0, low=0.0, high=0.2, help="gripper width when toggled closed [m]")
    workspace_x_m: tuple[float, float] = setting((0.25, 0.75), low=-1.0, high=1.0, help="range of the target, forward [m]")
    workspace_y_m: tuple[float, float] = setting((-0.40, 0.40), low=-1.0, high=1.0, help="range of the target, left [m]")
    workspace_z_m: tuple[float, float] = setting((0.005, 0.60), low=-1.0, high=1.3, help="range of the target, up [m]")
    table_z_m: float = setting(0.0, low=-1.0, high=1.0, help="height of the table; the target never goes below it [m]")

    def __post_init__(self) -> None:
        if self.closed_width_m >= self.open_width_m:
            raise ConfigError(f"closed_width_m: {self.closed_width_m} is not below open_width_m {self.open_width_m}")
        try:
            self.box  # noqa: B018  # built for its checks
        except ValueError as error:
            raise ConfigError(f"workspace_*_m: {error}") from None

    @property
    def box(self) -> WorkspaceBox:
        """Where the target may be."""
        return WorkspaceBox(self.workspace_x_m, self.workspace_y_m, self.workspace_z_m, self.table_z_m)


@dataclass(frozen=True, eq=False)
class Known:
    """Position (3,) [m] and rotation (3, 3), as known at a time."""

    stamp_ns: int
    position_m: FloatArray
    rotation: FloatArray


@dataclass(frozen=True, eq=False)
class TeleopAction:
    """What to send: ``rows`` (1, 10), or (0, 10) for a keep-alive, and why nothing is driven where the deadman was held in vain."""

    rows: FloatArray
    deadman: bool
    problem: str = ""


def shape_axes(axes: ArrayLike, dead_zone: float) -> FloatArray:
    """Deflections (N,) in [-1, 1] with the dead zone taken out and the rest stretched back to 1; not finite counts as none."""
    values = np.nan_to_num(np.asarray(axes, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(np.sign(values) * np.clip((np.abs(values) - dead_zone) / (1.0 - dead_zone), 0.0, 1.0))


class TeleopCore:
    """See the module. Not thread-safe: one caller."""

    def __init__(self, config: TeleopConfig) -> None:
        self.config = config
        self._box = config.box
        self._deadman = self._toggle_was = False
        self._toggles = 0
        self._width_m = config.open_width_m
        self._twist: FloatArray = np.zeros(6)
        self._twist_ns: int | None = None
        self._measured: Known | None = None
        self._measured_width_m: float | None = None
        self._commanded: Known | None = None
        self._commanded_width_m: float | None = None
        self._target: Known | None = None
        self._last_ns: int | None = None

    def on_twist(self, now_ns: int, linear: ArrayLike, angular: ArrayLike) -> None:
        """Deflections (3,) and (3,) in [-1, 1] along and about the base frame's axes."""
        self._twist = np.concatenate([np.asarray(linear, dtype=np.float64), np.asarray(angular, dtype=np.float64)])
        self._twist_ns = now_ns

    def on_buttons(self, deadman: bool, toggle: bool) -> None:
        """State of the two buttons. Each press of the second one toggles the gripper, while the deadman is held."""
        pressed = toggle and not self._toggle_was
        self._deadman, self._toggle_was = deadman, toggle
        if pressed and deadman:
            self._toggles += 1

    def on_measured_pose(self, stamp_ns: int, position_m: ArrayLike, quat_xyzw: ArrayLike) -> None:
        """Measured end-effector position (3,) and quaternion (4,) in the base frame; one that is not finite is ignored."""
        values = np.concatenate([np.asarray(position_m, dtype=np.float64), np.asarray(quat_xyzw, dtype=np.float64)])
        if np.all(np.isfinite(values)) and np.linalg.norm(values[3:]) > 0.5:
            self._measured = Known(stamp_ns, values[:3], quat_to_matrix(values[3:]))

    def on_measured_width(self, width_m: float) -> None:
        """Measured opening of the gripper [m]."""
        if np.isfinite(width_m):
            self._measured_width_m = float(width_m)

    def on_guard_target(self, stamp_ns: int, position_m: ArrayLike, quat_xyzw: ArrayLike, width_m: float) -> None:
        """The guard's commanded target while it is engaged."""
        self._commanded = Known(stamp_ns, np.asarray(position_m, dtype=np.float64), quat_to_matrix(quat_xyzw))
        self._commanded_width_m = float(width_m) if np.isfinite(width_m) else None

    def on_guard_disengaged(self) -> None:
        """The guard commands nothing."""
        self._commanded = None

    def tick(self, now_ns: int) -> TeleopAction:
        """The action of this period, for one period from now."""
        if self._last_ns is not None and now_ns < self._last_ns:
            self._forget_time()
        elapsed_s = PERIOD_S if self._last_ns is None else min((now_ns - self._last_ns) / NS_PER_S, 2 * PERIOD_S)
        self._last_ns = now_ns
        if not self._deadman:
            self._target, self._toggles = None, 0
            return TeleopAction(np.zeros((0, EEF_WIDTH)), deadman=False)
        if self._target is None:
            self._target = self._start(now_ns)
            if self._target is None:
                return TeleopAction(np.zeros((0, EEF_WIDTH)), deadman=False, problem="no measured pose: the deadman has no effect until it comes")
        self._target = self._moved(self._target, now_ns, elapsed_s)
        self._toggle_gripper()
        row = eef_row(self._target.position_m, matrix_to_quat(self._target.rotation), self._width_m)
        return TeleopAction(row[None], deadman=True)

    def _forget_time(self) -> None:
        """Time went back: all that carries a stamp of before is void. The hand is still where it was on the buttons."""
        self._twist_ns = self._last_ns = None
        self._measured = self._commanded = self._target = None

    def _fresh(self, known: Known | None, now_ns: int) -> Known | None:
        timeout_ns = round(self.config.state_timeout_s * NS_PER_S)
        return known if known is not None and now_ns - known.stamp_ns <= timeout_ns else None

    def _start(self, now_ns: int) -> Known | None:
        """Where a press of the deadman begins: the guard's target, so that the arm does not move; the measured pose where it has none."""
        commanded, measured = self._fresh(self._commanded, now_ns), self._fresh(self._measured, now_ns)
        if measured is None:
            return None
        width_m = self._measured_width_m if commanded is None or self._commanded_width_m is None else self._commanded_width_m
        if width_m is not None:
            self._width_m = width_m
        return commanded or measured

    def _moved(self, target: Known, now_ns: int, elapsed_s: float) -> Known:
        config, measured = self.config, self._fresh(self._measured, now_ns)
        late = self._twist_ns is None or now_ns - self._twist_ns > round(config.twist_timeout_s * NS_PER_S)
        if late or measured is None:
            return target
        axes = shape_axes(self._twist, config.dead_zone)
        position = target.position_m + elapsed_s * config.linear_scale_m_s * axes[:3]
        position = _leashed(position, target.position_m, measured.position_m, config.leash_m)
        turn = rotvec_to_matrix(elapsed_s * config.angular_scale_rad_s * axes[3:])
        ahead = matrix_to_rotvec(target.rotation @ measured.rotation.T)
        # Rotation vectors about the measured rotation: the leash is a ball in them too.
        turned = _leashed(matrix_to_rotvec(turn @ target.rotation @ measured.rotation.T), ahead, np.zeros(3), config.leash_rad)
        rotation = rotvec_to_matrix(turned) @ measured.rotation
        return Known(now_ns, np.clip(position, self._box.low_m, self._box.high_m), rotation)

    def _toggle_gripper(self) -> None:
        config = self.config
        for _ in range(self._toggles):
            is_open = self._width_m > 0.5 * (config.open_width_m + config.closed_width_m)
            self._width_m = config.closed_width_m if is_open else config.open_width_m
        self._toggles = 0


def _leashed(position: FloatArray, before: FloatArray, measured: FloatArray, leash_m: float) -> FloatArray:
    """``position`` (3,), drawn in to the leash about ``measured`` or, where it was ``before`` already further, to that distance."""
    allowed = max(leash_m, float(np.linalg.norm(before - measured)))
    ahead = position - measured
    distance = float(np.linalg.norm(ahead))
    return position if distance <= allowed else measured + ahead * (allowed / distance)
