"""Which observations a policy sees, at which rate and how fresh: said once, for the data set and for the robot."""

from __future__ import annotations

from dataclasses import dataclass

from cdp.config import ConfigError, setting

NS_PER_S = 1_000_000_000

# Width of each raw stream: joint angles, x y z and quaternion xyzw, opening between the fingers.
STREAM_WIDTHS = {"joint_pos": 7, "eef_pose": 7, "gripper_width": 1}

# Each low-dimensional observation: the raw stream that it comes from, and its width.
LOWDIM_SOURCES = {
    "robot0_joint_pos": ("joint_pos", 7),
    "robot0_eef_pos": ("eef_pose", 3),
    "robot0_eef_quat": ("eef_pose", 4),
    "robot0_eef_rot6d": ("eef_pose", 6),
    "robot0_gripper_qpos": ("gripper_width", 2),
}

# Ticks further apart than this many periods are no sequence: the window starts anew, an episode with such a hole is rejected.
MAX_GAP_PERIODS = 1.5


@dataclass(frozen=True)
class ObservationSpec:
    """The observation window of a policy: ``window`` rows at ``rate_hz``, each one image and one low-dimensional vector."""

    image_key: str = setting("agentview_image", help="camera stream")
    image_size: int = setting(96, low=8, high=1024, help="side of the square image that the policy sees [px]")
    lowdim_keys: tuple[str, ...] = setting(
        ("robot0_eef_pos", "robot0_eef_rot6d", "robot0_gripper_qpos"), choices=tuple(LOWDIM_SOURCES), help="low-dimensional observations, in order"
    )
    window: int = setting(2, low=1, high=16, help="To: observations that one action chunk is predicted from")
    rate_hz: float = setting(10.0, low=0.1, high=1000.0, help="policy rate: rows per second [Hz]")
    camera_rate_hz: float = setting(30.0, low=0.1, high=1000.0, help="nominal rate of the camera [Hz]; half its period is the tolerance of a tick")
    proprio_tolerance_s: float = setting(0.05, low=0.0, high=10.0, help="greatest age of a proprioceptive sample at its image [s]")
    stale_after_s: float = setting(0.25, low=0.01, high=60.0, help="a stream whose newest sample is older than this is reported as missing [s]")

    def __post_init__(self) -> None:
        if self.camera_rate_hz < self.rate_hz:
            raise ConfigError(f"camera_rate_hz: {self.camera_rate_hz} is below rate_hz {self.rate_hz}: there is not an image for every row")
        if not self.lowdim_keys or len(set(self.lowdim_keys)) != len(self.lowdim_keys):
            raise ConfigError(f"lowdim_keys: {list(self.lowdim_keys)} needs at least one key, and each once")

    @property
    def period_ns(self) -> int:
        """Time between rows [ns]."""
        return round(NS_PER_S / self.rate_hz)

    @property
    def half_frame_ns(self) -> int:
        """Half the camera's nominal period [ns]."""
        return round(NS_PER_S / (2 * self.camera_rate_hz))

    @property
    def max_gap_ns(self) -> int:
        """Greatest time between two rows of one sequence [ns]."""
        return round(MAX_GAP_PERIODS * self.period_ns)

    @property
    def tolerance_ns(self) -> int:
        """``proprio_tolerance_s`` in ns."""
        return round(self.proprio_tolerance_s * NS_PER_S)

    @property
    def lowdim_width(self) -> int:
        """P: numbers in one low-dimensional vector."""
        return sum(LOWDIM_SOURCES[key][1] for key in self.lowdim_keys)

    @property
    def streams(self) -> tuple[str, ...]:
        """Raw proprioceptive streams that ``lowdim_keys`` need."""
        return tuple(dict.fromkeys(LOWDIM_SOURCES[key][0] for key in self.lowdim_keys))
