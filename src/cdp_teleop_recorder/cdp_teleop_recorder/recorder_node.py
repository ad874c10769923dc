"""The node ``cdp_recorder``: records what camera, robot and operator say into one file an episode.

Start and stop it through /cdp/recorder/start and /cdp/recorder/stop. Callbacks only enqueue; a writer thread encodes and stores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdp_msgs.msg import ActionChunk, RecorderStatus, TaskState
from cdp_msgs.srv import StartEpisode, StopEpisode
from cdp_ros.main import run_node
from cdp_ros.parameters import declare, read
from cdp_ros.stamps import stamp_to_ns
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState

from cdp.config import ConfigError
from cdp.data.images import ImageError
from cdp_teleop_recorder import recorder_messages as messages
from cdp_teleop_recorder.recorder_messages import UnfitMessageError
from cdp_teleop_recorder.recorder_parameters import RecorderParameters
from cdp_teleop_recorder.recorder_session import RecorderSession, State

STATUS_PERIOD_S = 0.5
DIAGNOSTICS_PERIOD_S = 1.0
# Most of a second at 100 Hz, the pace of a lock-step run: the executor may be busy for as long with bringing a file to the disk.
IMAGE_DEPTH = 60
STATE_DEPTH = 200
_WARN_PERIOD_S = 5.0


class RecorderNode(Node):
    """Subscriptions, services and status around a :class:`RecorderSession`."""

    def __init__(self) -> None:
        super().__init__("cdp_recorder")
        declare(self, RecorderParameters)
        self._settings = p = read(self, RecorderParameters)
        sim_time = bool(self.get_parameter("use_sim_time").value)
        self.session = RecorderSession(p, "sim" if sim_time else "system")
        for path in self.session.leftovers():
            self.get_logger().warning(f"{path} was left unfinished by a recorder that was killed; it holds no complete episode and may be removed")
        self._subscribe(p)
        latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status = self.create_publisher(RecorderStatus, "/cdp/recorder/status", latched)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_service(StartEpisode, "/cdp/recorder/start", self._on_start)
        self.create_service(StopEpisode, "/cdp/recorder/stop", self._on_stop)
        # Simulated time may stand still; the status goes on.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(STATUS_PERIOD_S, self._publish_status, clock=steady)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=steady)
        self._publish_status()

    def _subscribe(self, p: RecorderParameters) -> None:
        reliability = ReliabilityPolicy.RELIABLE if p.reliable else ReliabilityPolicy.BEST_EFFORT
        images = QoSProfile(depth=IMAGE_DEPTH, reliability=reliability)
        states = QoSProfile(depth=STATE_DEPTH, reliability=reliability)
        actions = QoSProfile(depth=STATE_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        image_kind = CompressedImage if p.image_transport == "compressed" else Image
        self._listen(image_kind, p.image_topic, images, "agentview_image", self._take_image)
        self._listen(JointState, p.joint_states_topic, states, "joint_pos", self._take_joints)
        # The broadcaster offers its pose best effort only; a reliable subscription would never match it.
        poses = QoSProfile(depth=STATE_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._listen(PoseStamped, p.pose_topic, poses, "eef_pose", self._take_pose)
        self._listen(JointState, p.gripper_topic, states, "gripper_width", self._take_gripper)
        self._listen(ActionChunk, p.operator_topic, actions, "action", self._take_action)
        self._listen(ActionChunk, p.policy_topic, actions, "action", self._take_action)
        self._listen(TaskState, p.task_topic, states, "task_state", self._take_task)

    def _listen(self, kind: type, topic: str, qos: QoSProfile, stream: str, take: Callable[[Any, int], None]) -> None:
        def receive(message: Any) -> None:
            try:
                take(message, self._now_ns())
            except (ImageError, UnfitMessageError) as error:
                self.session.refuse(stream, str(error))
                self.get_logger().warning(f"{topic} is not recorded: {error}", throttle_duration_sec=_WARN_PERIOD_S)

        self.create_subscription(kind, topic, receive, qos)

    def _take_image(self, message: Image | CompressedImage, now_ns: int) -> None:
        self.session.add("agentview_image", stamp_to_ns(message.header.stamp), now_ns, messages.image_columns(message))

    def _take_joints(self, message: JointState, now_ns: int) -> None:
        positions, velocities = messages.joint_columns(message, self._settings.joint_names)
        t_ns = stamp_to_ns(message.header.stamp)
        self.session.add("joint_pos", t_ns, now_ns, positions)
        if velocities is not None:
            self.session.add("joint_vel", t_ns, now_ns, velocities)

    def _take_pose(self, message: PoseStamped, now_ns: int) -> None:
        columns = messages.pose_columns(message.pose, message.header.frame_id, self._settings.base_frame)
        self.session.add("eef_pose", stamp_to_ns(message.header.stamp), now_ns, columns)

    def _take_gripper(self, message: JointState, now_ns: int) -> None:
        columns = messages.gripper_columns(message, self._settings.finger_names)
        self.session.add("gripper_width", stamp_to_ns(message.header.stamp), now_ns, columns)

    def _take_action(self, message: ActionChunk, now_ns: int) -> None:
        columns = messages.action_columns(message, self._settings.base_frame)
        if columns is not None:
            self.session.add("action", stamp_to_ns(message.header.stamp), now_ns, columns)

    def _take_task(self, message: TaskState, now_ns: int) -> None:
        self.session.add("task_state", stamp_to_ns(message.header.stamp), now_ns, messages.task_columns(message))

    def _on_start(self, request: StartEpisode.Request, response: StartEpisode.Response) -> StartEpisode.Response:
        outcome = self.session.start(request.task, request.operator_name, request.seed, self._now_ns())
        response.success, response.message, response.episode = outcome.success, outcome.message, outcome.episode
        self._tell(outcome.success, outcome.message)
        return response

    def _on_stop(self, request: StopEpisode.Request, response: StopEpisode.Response) -> StopEpisode.Response:
        self.session.mark_writing()
        self._publish_status()
        outcome = self.session.stop(request.keep, request.task_success, request.note, self._now_ns())
        response.success, response.message = outcome.success, outcome.message
        response.path, response.frames = outcome.path, outcome.frames
        self._tell(outcome.success, outcome.message)
        return response

    def _tell(self, success: bool, message: str) -> None:
        if success:
            self.get_logger().info(message)
        else:
            self.get_logger().error(message)
        self._publish_status()

    def _publish_status(self) -> None:
        message = messages.status_message(self.session.snapshot(self._now_ns()))
        message.header.stamp = self.get_clock().now().to_msg()
        self._status.publish(message)

    def _publish_diagnostics(self) -> None:
        snapshot = self.session.snapshot(self._now_ns())
        level = DiagnosticStatus.ERROR if snapshot.state is State.FAULT else DiagnosticStatus.WARN if any(snapshot.dropped) else DiagnosticStatus.OK
        values = [KeyValue(key=f"dropped/{name}", value=str(n)) for name, n in zip(snapshot.streams, snapshot.dropped, strict=True)]
        status = DiagnosticStatus(level=level, name="cdp_recorder", message=snapshot.message, hardware_id="", values=values)
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def main() -> int:
    """Run the recorder until SIGINT or SIGTERM: an episode in progress is then finished, labelled as interrupted. 2 where a parameter is refused."""
    return run_node("cdp_recorder", RecorderNode, refusals=(ConfigError,), close=_interrupt)


def _interrupt(node: RecorderNode) -> None:
    outcome = node.session.interrupt()
    if outcome is not None:
        node.get_logger().warning(f"interrupted: {outcome.message}")
