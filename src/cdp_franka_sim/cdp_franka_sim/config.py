"""What can be set of the simulated arm and camera, with the range that each value may have."""

from __future__ import annotations

from dataclasses import dataclass, field

from cdp.config import ConfigError, setting


@dataclass(frozen=True)
class CartesianImpedanceConfig:
    """Gains of the Cartesian impedance controller, named after Franka's cartesian_impedance_example_controller."""

    translational_stiffness_n_m: float = setting(600.0, low=10.0, high=2000.0, help="translational stiffness [N/m]")
    rotational_stiffness_nm_rad: float = setting(40.0, low=1.0, high=200.0, help="rotational stiffness [Nm/rad]")
    damping_ratio: float = setting(1.0, low=0.3, high=2.0, help="damping ratio at the end effector; 1 is critical")
    nullspace_stiffness_nm_rad: float = setting(10.0, low=0.0, high=100.0, help="stiffness towards the posture in the null space [Nm/rad]")
    target_filter_s: float = setting(
        0.2, low=0.0, high=1.0, help="time constant of the first-order filter on the equilibrium pose [s]; Franka's 0.005 per ms"
    )
    max_position_error_m: float = setting(0.1, low=0.01, high=0.5, help="position error at which the spring force is clipped [m]")


@dataclass(frozen=True)
class JointImpedanceConfig:
    """Gains of the joint impedance controller that follows trajectory points."""

    stiffness_nm_rad: tuple[float, ...] = setting(
        (600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0), low=1.0, high=5000.0, help="joint stiffness [Nm/rad]"
    )
    damping_nms_rad: tuple[float, ...] = setting((50.0, 50.0, 50.0, 50.0, 30.0, 25.0, 15.0), low=0.1, high=500.0, help="joint damping [Nms/rad]")
    extrapolate_s: float = setting(0.02, low=0.0, high=0.1, help="how long a point's velocity is followed past the point [s]")

    def __post_init__(self) -> None:
        """Refuse gains that are not seven."""
        for name in ("stiffness_nm_rad", "damping_nms_rad"):
            if len(getattr(self, name)) != 7:
                raise ConfigError(f"{name}: {len(getattr(self, name))} values; the arm has 7 joints")


@dataclass(frozen=True)
class GripperConfig:
    """The parallel gripper: a position servo with limited force and speed."""

    stiffness_n_m: float = setting(2000.0, low=100.0, high=20000.0, help="stiffness of the finger servo [N/m]")
    damping_ns_m: float = setting(60.0, low=1.0, high=1000.0, help="damping of the finger servo [Ns/m]")
    max_force_n: float = setting(40.0, low=1.0, high=140.0, help="largest force of the finger servo [N]")
    speed_m_s: float = setting(0.1, low=0.01, high=0.2, help="speed at which the width target is approached [m/s]")


@dataclass(frozen=True)
class CameraConfig:
    """The rendered picture."""

    width: int = setting(640, low=16, high=1920, help="image width [pixels]")
    height: int = setting(480, low=16, high=1080, help="image height [pixels]")
    mesh_reduction: float = setting(0.9, low=0.0, high=0.95, help="share of the triangles taken out of the arm's visual meshes")


@dataclass(frozen=True)
class SimConfig:
    """Everything that :class:`cdp_franka_sim.physics.FrankaSim` can be told."""

    control_rate_hz: int = setting(500, low=250, high=2000, help="rate of physics and torque control [Hz]; 1000 is the real arm's")
    torque_rate_nm_s: float = setting(1000.0, low=10.0, high=10000.0, help="largest rate of change of a joint torque [Nm/s]")
    cartesian: CartesianImpedanceConfig = field(default_factory=CartesianImpedanceConfig)
    joint: JointImpedanceConfig = field(default_factory=JointImpedanceConfig)
    gripper: GripperConfig = field(default_factory=GripperConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)

    def __post_init__(self) -> None:
        """Refuse a rate with which 10 ms are not a whole number of steps."""
        if self.control_rate_hz % 100:
            raise ConfigError(f"control_rate_hz: {self.control_rate_hz} is not a multiple of 100 Hz, the rate of commands and states")
