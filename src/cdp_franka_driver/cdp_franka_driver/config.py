"""Settings of the driver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdp.config import ConfigError, setting
from cdp.geometry import FloatArray
from cdp_franka.kinematics import FLANGE_TO_TCP
from cdp_franka.limits import FR3, FR3_CARTESIAN, JOINTS

# What is kept of libfranka's own limits by a reference that has to catch up.
_SHARE = 0.8


@dataclass(frozen=True)
class ControlConfig:
    """Settings of the 1 kHz loop."""

    command_interface: str = setting("joint", choices=("joint", "cartesian"), help="what the guard sends: its own command_interface")
    stiffness_nm_rad: tuple[float, ...] = setting(
        (600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0), low=1.0, high=2000.0, help="joint: stiffness [Nm/rad]"
    )
    damping_nms_rad: tuple[float, ...] = setting((30.0, 30.0, 30.0, 30.0, 10.0, 10.0, 5.0), low=0.1, high=200.0, help="joint: damping [Nms/rad]")
    translational_stiffness_n_m: float = setting(600.0, low=10.0, high=3000.0, help="cartesian: translational stiffness [N/m]")
    rotational_stiffness_nm_rad: float = setting(40.0, low=1.0, high=300.0, help="cartesian: rotational stiffness [Nm/rad]")
    damping_ratio: float = setting(1.0, low=0.3, high=2.0, help="cartesian: damping ratio at the end effector; 1 is critical")
    nullspace_stiffness_nm_rad: float = setting(10.0, low=0.0, high=100.0, help="cartesian: stiffness towards the posture at the start [Nm/rad]")
    max_position_error_m: float = setting(0.1, low=0.005, high=0.2, help="cartesian: position error at which the spring force is clipped [m]")
    target_delay_s: float = setting(0.02, low=0.01, high=0.1, help="a target is reached this long after its stamp; evens out how late they come [s]")
    coast_s: float = setting(0.03, low=0.0, high=0.1, help="how long the last target's velocity is kept when the next is late [s]")
    deceleration_rad_s2: float = setting(4.0, low=0.5, high=8.0, help="then the joints, or the turn, are braked with this [rad/s^2]")
    deceleration_m_s2: float = setting(3.0, low=0.5, high=8.0, help="cartesian: then the position is braked with this [m/s^2]")
    resume: str = setting(
        "auto", choices=("auto", "ask"), help="ask: after control has ended, it is taken again only when ~/error_recovery is called; auto: by itself"
    )
    realtime: str = setting("ignore", choices=("ignore", "enforce"), help="enforce: refuse to start without a real-time kernel")
    realtime_priority: int = setting(80, low=0, high=98, help="SCHED_FIFO priority of the 1 kHz loop where that is permitted; 0 asks for none")
    collision_torque_nm: tuple[float, ...] = setting(
        (40.0, 40.0, 36.0, 36.0, 32.0, 28.0, 24.0), low=1.0, high=100.0, help="external torque at which the robot stops with a reflex [Nm]"
    )
    collision_force_n: tuple[float, ...] = setting(
        (40.0, 40.0, 40.0, 50.0, 50.0, 50.0), low=1.0, high=150.0, help="external force [N] and torque [Nm] at which the robot stops with a reflex"
    )

    def __post_init__(self) -> None:
        """Refuse rows of another length."""
        for name, count in (("stiffness_nm_rad", JOINTS), ("damping_nms_rad", JOINTS), ("collision_torque_nm", JOINTS), ("collision_force_n", 6)):
            if len(getattr(self, name)) != count:
                raise ConfigError(f"{name}: {len(getattr(self, name))} values, not {count}")

    def parameters(self) -> dict[str, FloatArray]:
        """What the law of ``command_interface`` is told, by the names of its PARAMETERS."""
        if self.command_interface == "joint":
            return {
                "stiffness": np.array(self.stiffness_nm_rad),
                "damping": np.array(self.damping_nms_rad),
                "speed_limit": _SHARE * FR3.dq_max_rad_s,
                "acceleration_limit": _SHARE * FR3.ddq_max_rad_s2,
                "deceleration": np.full(JOINTS, self.deceleration_rad_s2),
                "coast_s": np.array([self.coast_s]),
            }
        return {
            "tcp": FLANGE_TO_TCP,
            "pose_stiffness": np.repeat([self.translational_stiffness_n_m, self.rotational_stiffness_nm_rad], 3),
            "damping_ratio": np.array([self.damping_ratio]),
            "posture_stiffness": np.array([self.nullspace_stiffness_nm_rad]),
            "leash_m": np.array([self.max_position_error_m]),
            "twist_limit": _SHARE * np.repeat([FR3_CARTESIAN.speed_m_s, FR3_CARTESIAN.turn_rad_s], 3),
            "twist_acceleration": _SHARE * np.repeat([FR3_CARTESIAN.acceleration_m_s2, FR3_CARTESIAN.turn_acceleration_rad_s2], 3),
            "twist_deceleration": np.repeat([self.deceleration_m_s2, self.deceleration_rad_s2], 3),
            "coast_s": np.array([self.coast_s]),
        }
