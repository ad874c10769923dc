"""What the topics say of an episode: task and guard, pictures, and how long the policy takes from image to command."""

from __future__ import annotations

from pathlib import Path

from cdp_msgs.msg import ActionChunk, GuardStatus, PolicyStatus, TaskState
from cdp_ros.stamps import stamp_to_ns
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory

from cdp.data.images import decode_raw
from cdp_franka_sim.command_digest import CommandDigest
from cdp_franka_sim.episode_media import ContactSheet, EpisodeVideo
from cdp_franka_sim.episode_results import RunResults

VIDEO_EVERY = 3
# Lock-step runs as fast as it can: what this node has not read yet must not be overwritten.
COMMAND_DEPTH = 2000


class EpisodeEar:
    """``label``: of the episode that is running, empty between two; ``task`` and ``guard``: the newest, None before the first."""

    def __init__(self, node: Node, results: RunResults, output: Path, policy: bool, simulated_time: bool) -> None:
        """What is measured goes into ``results``, pictures into a video in the folder ``output``; ``policy``: its topics too."""
        self._results, self._simulated_time = results, simulated_time
        self.video = EpisodeVideo(output / "episodes.mp4", 30.0 / VIDEO_EVERY)
        self.sheet = ContactSheet()
        self.digest = CommandDigest()
        self.label = ""
        self.task: TaskState | None = None
        self.guard: GuardStatus | None = None
        self._images = self._chunks = 0
        self._unanswered: list[tuple[int, int]] = []
        latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        node.create_subscription(TaskState, "/cdp_sim/task", self._on_task, 30)
        node.create_subscription(GuardStatus, "/cdp/guard/status", self._on_guard, latched)
        node.create_subscription(Image, "/agentview/image_raw", self._on_image, best_effort)
        if policy:
            node.create_subscription(ActionChunk, "/cdp/action/policy", self._on_chunk, 50)
            node.create_subscription(PolicyStatus, "/cdp/policy/status", self._on_policy, 20)
            node.create_subscription(PoseStamped, "/cartesian_impedance_example_controller/equilibrium_pose", self._on_command, COMMAND_DEPTH)
            node.create_subscription(JointTrajectory, "/fr3_arm_controller/joint_trajectory", self._on_command, COMMAND_DEPTH)

    def seen_since(self, start_ns: int) -> bool:
        """Whether the task of this time or a later one was heard."""
        return self.task is not None and stamp_to_ns(self.task.header.stamp) >= start_ns

    def forget(self) -> None:
        """Chunks that no command has followed belong to the episode that has ended."""
        self._unanswered.clear()

    def _on_task(self, message: TaskState) -> None:
        # Sent with each image, and reliably: its stamps tell the camera's rate even where this node loses an image.
        if self.label and self.task is not None:
            gap_ns = stamp_to_ns(message.header.stamp) - stamp_to_ns(self.task.header.stamp)
            # While time stands still before an episode its first instant is told again and again.
            if gap_ns > 0:
                self._results.image_gaps_ms.append(gap_ns / 1e6)
        self.task = message

    def _on_guard(self, message: GuardStatus) -> None:
        self.guard = message

    def _on_image(self, message: Image) -> None:
        self._images += 1
        if self.label and self._images % VIDEO_EVERY == 0:
            rgb = decode_raw(message.data, message.height, message.width, message.step, message.encoding)
            self.video.add(rgb, self.label)
            self.sheet.add(rgb)

    def _on_chunk(self, message: ActionChunk) -> None:
        if message.horizon > 0 and self.label:
            self._unanswered.append((stamp_to_ns(message.header.stamp), stamp_to_ns(message.observation_stamp)))

    def _on_policy(self, message: PolicyStatus) -> None:
        # The status is repeated between chunks: each chunk counts once.
        if self.label and message.state == PolicyStatus.STATE_RUNNING and message.chunks != self._chunks:
            self._results.inference_ms.append(message.inference_ms)
        self._chunks = message.chunks

    def _on_command(self, message: PoseStamped | JointTrajectory) -> None:
        """The first command at or after a chunk's sending is the first that can follow it: its stamp less the image's is the latency."""
        stamp_ns = stamp_to_ns(message.header.stamp)
        self.digest.add(stamp_ns, message)
        answered = [o for sent, o in self._unanswered if sent <= stamp_ns]
        # In lock-step simulated time stands still while nodes compute: the difference would say nothing.
        if not self._simulated_time:
            self._results.observation_to_command_ms.extend((stamp_ns - o) / 1e6 for o in answered)
        self._unanswered = [(sent, o) for sent, o in self._unanswered if sent > stamp_ns]
