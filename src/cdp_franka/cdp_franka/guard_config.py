"""Limits and watchdogs of the command guard. Every check has a bounded value; none can be turned off by a default or by a zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cdp.config import ConfigError, setting
from cdp_franka.frames import BASE_FRAME, POSE_FRAMES, POSE_FRAMES_HELP
from cdp_franka.kinematics import READY_RAD
from cdp_franka.limits import ROBOTS, JointLimits, WorkspaceBox

_MIN_EXTENT_M = 0.02


@dataclass(frozen=True)
class GuardConfig:
    """Settings of :class:`cdp_franka.guard.GuardCore`; ranges are closed."""

    command_interface: Literal["cartesian", "joint"] = setting("cartesian", help="equilibrium poses, or joint positions with velocities")
    robot: Literal["fr3", "panda"] = setting("fr3", help="whose joint names and limits")
    base_frame: str = setting(BASE_FRAME, help="frame that actions must be given in")
    pose_frames: tuple[str, ...] = setting(POSE_FRAMES, help=POSE_FRAMES_HELP)

    workspace_x_m: tuple[float, float] = setting((0.25, 0.75), low=-1.0, high=1.0, help="range of the end effector, forward [m]")
    workspace_y_m: tuple[float, float] = setting((-0.40, 0.40), low=-1.0, high=1.0, help="range of the end effector, left [m]")
    workspace_z_m: tuple[float, float] = setting((0.012, 0.60), low=-1.0, high=1.3, help="range of the end effector, up [m]")
    table_z_m: float = setting(0.0, low=-1.0, high=1.0, help="height of the table; the end effector never goes below it [m]")
    workspace_tolerance_m: float = setting(
        0.01, low=0.0, high=0.05, help="further outside the box than this a policy's target is a fault, and no arm is engaged [m]"
    )

    linear_speed_m_s: float = setting(0.25, low=0.01, high=1.0, help="greatest speed of the commanded position [m/s]")
    linear_acceleration_m_s2: float = setting(1.5, low=0.05, high=9.0, help="greatest acceleration of the commanded position [m/s^2]")
    linear_jerk_m_s3: float = setting(50.0, low=2.0, high=4500.0, help="greatest jerk of the commanded position [m/s^3]")
    angular_speed_rad_s: float = setting(1.0, low=0.05, high=2.5, help="greatest speed of the commanded rotation [rad/s]")
    angular_acceleration_rad_s2: float = setting(4.0, low=0.1, high=17.0, help="greatest acceleration of the commanded rotation [rad/s^2]")
    angular_jerk_rad_s3: float = setting(200.0, low=5.0, high=8500.0, help="greatest jerk of the commanded rotation [rad/s^3]")

    max_target_jump_m: float = setting(0.15, low=0.005, high=0.5, help="an action further from the commanded target is refused [m]")
    max_target_turn_rad: float = setting(0.8, low=0.02, high=3.0, help="an action turned further from the commanded target is refused [rad]")
    leash_m: float = setting(0.10, low=0.005, high=0.3, help="the commanded position runs no further ahead of the measured one [m]")
    leash_rad: float = setting(0.5, low=0.02, high=1.5, help="the commanded rotation runs no further ahead of the measured one [rad]")

    state_timeout_s: float = setting(0.1, low=0.005, high=1.0, help="joint states or pose older than this are a fault [s]")
    source_margin_s: float = setting(0.08, low=0.01, high=1.0, help="added to a source's own promise before it counts as silent [s]")
    max_next_within_s: float = setting(0.25, low=0.01, high=5.0, help="longest promise that a source may make [s]")
    max_observation_age_s: float = setting(
        0.3, low=0.02, high=2.0, help="an action that answers an older observation is refused; following ends when the newest answered is older [s]"
    )
    max_start_lead_s: float = setting(1.0, low=0.02, high=5.0, help="row 0 may be for a time at most this far from the observation [s]")
    future_tolerance_s: float = setting(0.05, low=0.001, high=0.5, help="stamps may lead the guard's clock by this [s]")
    max_tick_s: float = setting(0.05, low=0.01, high=0.2, help="a late tick moves the target no further than one of this length [s]")

    recovery_s: float = setting(0.1, low=0.02, high=2.0, help="after a fault the state must be sound for this long before a source is followed [s]")
    retreat_by: Literal["up", "path"] = setting("up", help="retreat straight up and to retreat_position_m, or back along the way that the arm came")
    retreat_position_m: tuple[float, float, float] = setting((0.4, 0.0, 0.4), low=-1.0, high=1.3, help="where a retreat `up` ends [m]")
    retreat_speed_m_s: float = setting(0.05, low=0.005, high=0.25, help="speed of a retreat [m/s]")
    retreat_speed_rad_s: float = setting(0.3, low=0.02, high=1.0, help="angular speed of a retreat [rad/s]")
    retreat_path_m: float = setting(1.0, low=0.05, high=10.0, help="how much of the way that the arm came is remembered [m]")

    collision_margin_m: float = setting(0.02, low=0.005, high=0.1, help="links come no closer to one another than this [m]")
    table_margin_m: float = setting(0.01, low=0.002, high=0.1, help="arm and hand, without the fingers, come no closer to the table than this [m]")
    fingers_margin_m: float = setting(0.0, low=-0.02, high=0.1, help="fingertips come no closer to the table; negative where they press [m]")

    joint_margin_rad: float = setting(0.02, low=0.0, high=0.5, help="distance kept from the joint limits [rad]")
    joint_speed_share: float = setting(0.5, low=0.05, high=1.0, help="share of the joint velocity limits that joint commands may use")
    joint_acceleration_share: float = setting(0.6, low=0.02, high=1.0, help="share of the joint acceleration limits that joint commands may use")
    joint_jerk_share: float = setting(0.1, low=0.01, high=1.0, help="share of the joint jerk limits that joint commands may use")
    kinematic_tolerance_m: float = setting(0.02, low=0.001, high=0.1, help="engaging: measured pose against the forward kinematics [m]")
    kinematic_tolerance_rad: float = setting(0.1, low=0.005, high=0.5, help="engaging: measured rotation against the forward kinematics [rad]")
    ik_tolerance_m: float = setting(0.03, low=0.001, high=0.1, help="joint commands this far from the Cartesian target are a fault [m]")
    ik_tolerance_rad: float = setting(0.15, low=0.005, high=0.5, help="joint commands turned this far from the Cartesian target are a fault [rad]")
    ik_damping: float = setting(0.05, low=0.005, high=0.5, help="damping of the least squares")
    posture_rad: tuple[float, float, float, float, float, float, float] = setting(
        READY_RAD, low=-4.6, high=4.6, help="joint angles that the arm tends to in its null space [rad]"
    )
    posture_gain_per_s: float = setting(0.5, low=0.0, high=5.0, help="how fast the arm tends to the posture [1/s]")

    has_gripper: bool = setting(True, help="engaging waits for the gripper's width; false only for an arm without a gripper")
    gripper_max_width_m: float = setting(0.08, low=0.0, high=0.2, help="greatest opening [m]")
    gripper_tolerance_m: float = setting(0.02, low=0.0, high=0.05, help="a width further outside the gripper's range is refused [m]")

    def __post_init__(self) -> None:
        for key in ("workspace_x_m", "workspace_y_m", "workspace_z_m"):
            low, high = getattr(self, key)
            floor = f" above the table at {self.table_z_m} m" if key == "workspace_z_m" else ""
            if high - (max(low, self.table_z_m) if floor else low) < _MIN_EXTENT_M:
                raise ConfigError(f"{key}: {[low, high]!r}{floor} is no range of at least {_MIN_EXTENT_M} m from low to high")
        violation = self.limits.position_violation(self.posture_rad, self.joint_margin_rad)
        if violation is not None:
            raise ConfigError(f"posture_rad: {violation}")

    @property
    def box(self) -> WorkspaceBox:
        """The workspace."""
        return WorkspaceBox(self.workspace_x_m, self.workspace_y_m, self.workspace_z_m, self.table_z_m)

    @property
    def limits(self) -> JointLimits:
        """The robot's joint limits."""
        return ROBOTS[self.robot]
