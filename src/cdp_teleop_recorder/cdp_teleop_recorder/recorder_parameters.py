"""What the recorder can be told."""

from __future__ import annotations

from dataclasses import dataclass

from cdp.config import setting
from cdp.data.mcap_file import COMPRESSIONS
from cdp.data.streams import IMAGE_STREAM
from cdp_franka.frames import BASE_FRAME, POSE_FRAMES, POSE_FRAMES_HELP

JOINT_NAMES = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_NAMES = ("fr3_finger_joint1", "fr3_finger_joint2")
_MAX_RATE_HZ = 2000.0


@dataclass(frozen=True)
class RecorderParameters:
    """Parameters of the node ``cdp_recorder``; read once, at its start."""

    directory: str = setting("data/episodes", help="folder that receives one file an episode; made where it does not exist")
    image_topic: str = setting("/agentview/image_raw", help="camera image")
    image_transport: str = setting("raw", choices=("raw", "compressed"), help="raw: sensor_msgs/Image, compressed: sensor_msgs/CompressedImage")
    image_rate_hz: float = setting(30.0, low=0.1, high=_MAX_RATE_HZ, help="nominal rate of the camera [Hz]; a longer gap counts as dropped images")
    image_encoding: str = setting("jpeg", choices=("jpeg", "raw"), help="how the camera's images are stored; raw is 27 MB a second at 640x480, 30 Hz")
    cameras: tuple[str, ...] = setting(
        (), help="names of further cameras, each set up by camera.<name>.topic, .transport, .rate_hz, .encoding, .reliable"
    )
    topics: tuple[str, ...] = setting((), help="names of further streams, each set up by topic.<name>.topic, .type, .fields, .rate_hz, .reliable")
    image_queue: int = setting(
        400, low=10, high=100_000, help="images that may wait for their encoding, 0.9 MB each at 640x480; an image beyond is dropped and counted"
    )
    joint_states_topic: str = setting("/joint_states", help="joint positions and velocities of the arm")
    pose_topic: str = setting("/franka_robot_state_broadcaster/current_pose", help="pose of the end effector in the arm's base")
    gripper_topic: str = setting("/franka_gripper/joint_states", help="positions of the two fingers [m]")
    operator_topic: str = setting("/cdp/action/operator", help="the operator's actions")
    policy_topic: str = setting("/cdp/action/policy", help="the policy's actions, recorded with their source")
    task_topic: str = setting("/cdp_sim/task", help="ground truth of the simulated task, where there is one")
    joint_names: tuple[str, ...] = setting(JOINT_NAMES, help="the arm's joints in joint_states, base first")
    finger_names: tuple[str, ...] = setting(FINGER_NAMES, help="the finger joints; the opening is the sum of their positions")
    base_frame: str = setting(BASE_FRAME, help="frame that actions must be in; others are not recorded")
    pose_frames: tuple[str, ...] = setting(POSE_FRAMES, help=POSE_FRAMES_HELP)
    reliable: bool = setting(
        False, help="subscribe to camera, joints and gripper reliably: in simulation only, a sensor must not wait for us; the pose never is"
    )
    jpeg_quality: int = setting(95, low=50, high=100, help="quality of the stored JPEG images")
    required_streams: tuple[str, ...] = setting(
        ("agentview_image", "joint_pos", "eef_pose", "gripper_width"), help="streams without which no episode starts, further ones by their names"
    )
    joint_rate_hz: float = setting(100.0, low=0.1, high=_MAX_RATE_HZ, help="nominal rate of joint_states [Hz]")
    pose_rate_hz: float = setting(100.0, low=0.1, high=_MAX_RATE_HZ, help="nominal rate of the pose [Hz]")
    gripper_rate_hz: float = setting(30.0, low=0.1, high=_MAX_RATE_HZ, help="nominal rate of the gripper's joint states [Hz]")
    min_rate_fraction: float = setting(0.9, low=0.0, high=1.0, help="a stream below this part of its nominal rate is reported with the episode")
    silent_after_s: float = setting(1.0, low=0.05, high=60.0, help="a stream whose newest stamp is older than this is silent [s]")
    min_free_mb: int = setting(500, low=0, high=1_000_000, help="free space below which no episode starts [MB]")

    reserve_mb: int = setting(
        32, low=0, high=1_000_000, help="an episode ends while as much as its file needs, and this, is free [MB]: it can then still be finished"
    )
    flush_period_s: float = setting(
        0.5, low=0.02, high=1.0, help="an episode in progress is brought to the disk so often: a loss of power costs no more"
    )
    preroll_s: float = setting(0.0, low=0.0, high=30.0, help="an episode begins with what came so long before its start [s]")
    preroll_mb: int = setting(500, low=1, high=100_000, help="memory that the pre-roll may take [MB]; beyond, its oldest part is given up")
    sync_tolerance_s: float = setting(
        0.1, low=0.001, high=10.0, help="a stream that arrives so much later after its stamps than another is out of sync"
    )
    frozen_after_s: float = setting(1.0, low=0.0, high=60.0, help="the same picture for so long is reported: a camera has hung; 0 never reports")
    idle_after_s: float = setting(0.5, low=0.05, high=60.0, help="an arm that has not moved for so long is idle")
    idle_joint_rad: float = setting(1e-3, low=0.0, high=1.0, help="motion of a joint below this is none; of the gripper in metres")
    mcap: bool = setting(False, help="write the messages as they came beside each episode too, as <episode>.mcap; needs requirements/mcap.txt")
    mcap_topics: tuple[str, ...] = setting(
        (), help="of the recorder's topics only these, '/a'; none: all of them. A further one with its type: '/tf tf2_msgs/msg/TFMessage'"
    )
    mcap_compression: str = setting(
        "lz4", choices=COMPRESSIONS, help="of the chunks of an MCAP file; zstd is smaller and costs several times as much"
    )
    mcap_queue_mb: int = setting(256, low=1, high=100_000, help="messages that may wait to be written as MCAP [MB]; one beyond is lost and counted")
    task: str = setting("episode", help="task of an episode that a button starts")
    operator_name: str = setting("", help="operator of an episode that a button starts")

    def topic_of(self) -> dict[str, str]:
        """Topic of each stream that every episode has; "" turns a stream off."""
        return {
            IMAGE_STREAM: self.image_topic,
            "joint_pos": self.joint_states_topic,
            "joint_vel": self.joint_states_topic,
            "eef_pose": self.pose_topic,
            "gripper_width": self.gripper_topic,
            "action": self.operator_topic or self.policy_topic,
            "task_state": self.task_topic,
        }

    def rates_hz(self) -> dict[str, float]:
        """Nominal rates by stream; a stream without one sends when it has something to say."""
        return {
            IMAGE_STREAM: self.image_rate_hz,
            "joint_pos": self.joint_rate_hz,
            "joint_vel": self.joint_rate_hz,
            "eef_pose": self.pose_rate_hz,
            "gripper_width": self.gripper_rate_hz,
        }


@dataclass(frozen=True)
class CameraParameters:
    """Parameters ``camera.<name>.*`` of a further camera."""

    topic: str = setting("", help="images; needed")
    transport: str = setting("raw", choices=("raw", "compressed"), help="raw: sensor_msgs/Image, compressed: sensor_msgs/CompressedImage")
    rate_hz: float = setting(30.0, low=0.1, high=_MAX_RATE_HZ, help="nominal rate [Hz]; a longer gap counts as dropped images")
    encoding: str = setting("jpeg", choices=("jpeg", "raw"), help="how images are stored")
    reliable: bool = setting(False, help="subscribe reliably")


@dataclass(frozen=True)
class TopicParameters:
    """Parameters ``topic.<name>.*`` of a further stream of numbers."""

    topic: str = setting("", help="messages; needed")
    type: str = setting("", help="their type, e.g. geometry_msgs/msg/WrenchStamped; needed")
    fields: tuple[str, ...] = setting((), help="numbers to keep, e.g. wrench.force.x, or wrench for all of it; none: everything but the header")
    rate_hz: float = setting(0.0, low=0.0, high=_MAX_RATE_HZ, help="nominal rate [Hz]; 0: it has none, so nothing of it can be missed")
    reliable: bool = setting(False, help="subscribe reliably")
