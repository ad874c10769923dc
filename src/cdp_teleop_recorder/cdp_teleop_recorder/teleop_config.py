"""Settings of teleoperation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cdp.config import ConfigError, setting
from cdp_franka.frames import BASE_FRAME, POSE_FRAMES, POSE_FRAMES_HELP
from cdp_franka.limits import WorkspaceBox
from cdp_teleop_recorder.devices.base import AXES

SIGNED_AXES = (*(sign + axis for axis in AXES for sign in "+-"), "0")


@dataclass(frozen=True)
class TeleopConfig:
    """Settings of :class:`cdp_teleop_recorder.teleop_core.TeleopCore`; ranges are closed."""

    base_frame: str = setting(BASE_FRAME, help="frame of the targets")
    pose_frames: tuple[str, ...] = setting(POSE_FRAMES, help=POSE_FRAMES_HELP)
    frame: Literal["base", "tool"] = setting("base", help="whose axes the device moves along and turns about: the robot's base or the tool")
    axis_map: tuple[str, str, str, str, str, str] = setting(
        ("+x", "+y", "+z", "+rx", "+ry", "+rz"),
        choices=SIGNED_AXES,
        help="signed axis of the device that moves x, y, z, rx, ry, rz; 0 for none",
    )
    axis_scale: tuple[float, float, float, float, float, float] = setting(
        (1.0,) * 6, low=0.0, high=1.0, help="share of the full speed for x, y, z, rx, ry, rz"
    )
    linear_scale_m_s: float = setting(0.20, low=0.005, high=0.5, help="speed at full deflection [m/s]")
    angular_scale_rad_s: float = setting(0.8, low=0.02, high=2.0, help="rotation at full deflection [rad/s]")
    dead_zone: float = setting(0.05, low=0.0, high=0.5, help="deflection that counts as none, of 1")
    twist_timeout_s: float = setting(0.3, low=0.05, high=2.0, help="a deflection that the device has not renewed for this long counts as zero [s]")
    state_timeout_s: float = setting(0.5, low=0.05, high=2.0, help="without a measured pose this new the target stays where it is [s]")
    leash_m: float = setting(0.08, low=0.005, high=0.3, help="the target runs no further ahead of the measured position [m]")
    leash_rad: float = setting(0.4, low=0.02, high=1.5, help="the target turns no further ahead of the measured rotation [rad]")
    takeover_window_s: float = setting(5.0, low=0.1, high=60.0, help="taking over within this of a policy being followed is an intervention [s]")
    gripper_mode: Literal["toggle", "hold"] = setting("toggle", help="the gripper button opens and closes in turn, or closes while it is held")
    open_width_m: float = setting(0.08, low=0.0, high=0.2, help="gripper width when opened [m]")
    closed_width_m: float = setting(0.0, low=0.0, high=0.2, help="gripper width when closed [m]")
    workspace_x_m: tuple[float, float] = setting((0.25, 0.75), low=-1.0, high=1.0, help="range of the target, forward [m]")
    workspace_y_m: tuple[float, float] = setting((-0.40, 0.40), low=-1.0, high=1.0, help="range of the target, left [m]")
    workspace_z_m: tuple[float, float] = setting((0.012, 0.60), low=-1.0, high=1.3, help="range of the target, up [m]")
    table_z_m: float = setting(0.0, low=-1.0, high=1.0, help="height of the table; the target never goes below it [m]")

    def __post_init__(self) -> None:
        if self.closed_width_m >= self.open_width_m:
            raise ConfigError(f"closed_width_m: {self.closed_width_m} is not below open_width_m {self.open_width_m}")
        used = [axis[1:] for axis in self.axis_map if axis != "0"]
        if len(set(used)) != len(used):
            raise ConfigError(f"axis_map: {list(self.axis_map)} uses an axis of the device twice")
        try:
            self.box  # noqa: B018  # built for its checks
        except ValueError as error:
            raise ConfigError(f"workspace_*_m: {error}") from None

    @property
    def box(self) -> WorkspaceBox:
        """Where the target may be."""
        return WorkspaceBox(self.workspace_x_m, self.workspace_y_m, self.workspace_z_m, self.table_z_m)
