"""The node ``cdp_recorder``: records what cameras, robot and operator say into one file an episode.

Start and stop it through the services under /cdp/recorder. Callbacks only enqueue; a writer thread encodes and stores.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from cdp_msgs.msg import ActionChunk, RecorderStatus, TaskState
from cdp_ros.main import run_node
from cdp_ros.parameters import declare, read
from cdp_ros.stamps import stamp_to_ns
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState

from cdp.config import ConfigError
from cdp.data.images import ImageError
from cdp.data.streams import IMAGE_STREAM
from cdp_teleop_recorder import recorder_messages as messages
from cdp_teleop_recorder.recorder_action import RecordAction
from cdp_teleop_recorder.recorder_messages import UnfitMessageError
from cdp_teleop_recorder.recorder_parameters import RecorderParameters
from cdp_teleop_recorder.recorder_raw import RawTopics
from cdp_teleop_recorder.recorder_services import RecorderServices
from cdp_teleop_recorder.recorder_session import RecorderSession
from cdp_teleop_recorder.recorder_sources import Sources, image_type
from cdp_teleop_recorder.recorder_thread import StreamThread

STATUS_PERIOD_S = 0.5
DIAGNOSTICS_PERIOD_S = 1.0
# Most of a second at 100 Hz, the pace of a lock-step run: the executor may be busy for as long with bringing a file to the disk.
IMAGE_DEPTH = 60
STATE_DEPTH = 200
# A robot's native states come at 1 kHz, and a busy machine stalls for longer than a picture may be late: they are small.
_DEPTH_S = 3.0
_WARN_PERIOD_S = 5.0
_SWITCH_S = 0.0005
# A request waits so long for what was sent before it: much longer than a recorder needs that keeps up.
CATCH_UP_S = 5.0


class RecorderNode(Node):
    """Subscriptions, services and status around a :class:`RecorderSession`."""

    def __init__(self) -> None:
        super().__init__("cdp_recorder")
        declare(self, RecorderParameters)
        self._settings = p = read(self, RecorderParameters)
        self._sources = Sources(self, p)
        sim_time = bool(self.get_parameter("use_sim_time").value)
        self._streams = StreamThread("cdp_recorder_streams")
        self._raw = RawTopics(self._streams.node, p, self.now_ns, lambda *message: self.session.add_raw(*message))
        self.session = RecorderSession(p, "sim" if sim_time else "system", self._sources.specs, self._raw.topics)
        self._recover()
        self._warned_ns: dict[str, int] = {}
        self._subscribe(p)
        self._subscribe_added()
        self._raw.subscribe_further()
        latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status = self.create_publisher(RecorderStatus, "/cdp/recorder/status", latched)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        RecorderServices(self, self.session, self.now_ns, self._publish_status, self._catch_up)
        self._action = RecordAction(self, self.session, self.now_ns)
        # Simulated time may stand still; the status goes on.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(STATUS_PERIOD_S, self._tick, clock=self._steady)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=self._steady)
        self._publish_status()

    def begin(self) -> None:
        """Begin to receive; called when everything is set up."""
        self._streams.start()

    def end(self) -> None:
        """Finish the episode in progress, as interrupted."""
        self._streams.close()
        outcome = self.session.interrupt()
        if outcome is not None:
            self.get_logger().warning(f"interrupted: {outcome.message}")
        self.session.kept.wait()
        self._tell_made()

    def now_ns(self) -> int:
        """Time by the node's clock."""
        return int(self.get_clock().now().nanoseconds)

    def _catch_up(self) -> None:
        if not self._streams.catch_up(CATCH_UP_S):
            self.get_logger().warning("the recorder cannot keep up with its streams: what arrived just before this request may be missing")

    def _recover(self) -> None:
        for result in self.session.recover():
            self.get_logger().warning(result.message)
        for path in self.session.leftovers():
            self.get_logger().warning(f"{path} is half a file of a process that was killed; it holds no complete episode and may be removed")

    def _subscribe(self, p: RecorderParameters) -> None:
        reliability = _reliability(p.reliable)
        actions = QoSProfile(depth=STATE_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        # The broadcaster offers its pose best effort only; a reliable subscription would never match it.
        poses = QoSProfile(depth=_depth(p.pose_rate_hz), reliability=ReliabilityPolicy.BEST_EFFORT)
        joints = QoSProfile(depth=_depth(p.joint_rate_hz), reliability=reliability)
        states = QoSProfile(depth=STATE_DEPTH, reliability=reliability)
        images = QoSProfile(depth=IMAGE_DEPTH, reliability=reliability)
        self._listen(image_type(p.image_transport), p.image_topic, images, IMAGE_STREAM, self._take_image(IMAGE_STREAM))
        self._listen(JointState, p.joint_states_topic, joints, "joint_pos", self._take_joints)
        self._listen(PoseStamped, p.pose_topic, poses, "eef_pose", self._take_pose)
        self._listen(JointState, p.gripper_topic, states, "gripper_width", self._take_gripper)
        self._listen(ActionChunk, p.operator_topic, actions, "action", self._take_action)
        self._listen(ActionChunk, p.policy_topic, actions, "action", self._take_action)
        self._listen(TaskState, p.task_topic, states, "task_state", self._take_task)

    def _subscribe_added(self) -> None:
        for name, camera in self._sources.cameras.items():
            qos = QoSProfile(depth=IMAGE_DEPTH, reliability=_reliability(camera.reliable))
            self._listen(image_type(camera.transport), camera.topic, qos, name, self._take_image(name))
        for name, topic in self._sources.topics.items():
            qos = QoSProfile(depth=_depth(topic.rate_hz), reliability=_reliability(topic.reliable))
            self._listen(self._sources.types[name], topic.topic, qos, name, self._take_numbers(name))

    def _listen(self, kind: type, topic: str, qos: QoSProfile, stream: str, take: Callable[[Any, int], None]) -> None:
        def receive(message: Any) -> None:
            try:
                take(message, self.now_ns())
            except (ImageError, UnfitMessageError) as error:
                self.session.refuse(stream, str(error))
                self.get_logger().warning(f"{topic} is not recorded: {error}", throttle_duration_sec=_WARN_PERIOD_S)

        if topic:
            self._raw.subscribe(kind, topic, qos, receive)

    def _take_image(self, stream: str) -> Callable[[Any, int], None]:
        def take(message: Image | CompressedImage, now_ns: int) -> None:
            self.session.add(stream, stamp_to_ns(message.header.stamp), now_ns, messages.image_columns(message))

        return take

    def _take_numbers(self, stream: str) -> Callable[[Any, int], None]:
        fields = self._sources.fields[stream]

        def take(message: Any, now_ns: int) -> None:
            try:
                numbers = fields(message)
            except (ValueError, IndexError) as error:
                raise UnfitMessageError(str(error)) from None
            self.session.add(stream, stamp_to_ns(message.header.stamp) if fields.stamped else now_ns, now_ns, {"data": numbers})

        return take

    def _take_joints(self, message: JointState, now_ns: int) -> None:
        positions, velocities = messages.joint_columns(message, self._settings.joint_names)
        t_ns = stamp_to_ns(message.header.stamp)
        self.session.add("joint_pos", t_ns, now_ns, positions)
        if velocities is not None:
            self.session.add("joint_vel", t_ns, now_ns, velocities)

    def _take_pose(self, message: PoseStamped, now_ns: int) -> None:
        columns = messages.pose_columns(message.pose, message.header.frame_id, self._settings.pose_frames)
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

    def _tick(self) -> None:
        warnings, ended = self.session.tick(self.now_ns())
        steady_ns = self._steady.now().nanoseconds
        for key, text in warnings.items():
            if steady_ns - self._warned_ns.get(key, -(10**18)) >= _WARN_PERIOD_S * 1e9:
                self._warned_ns[key] = steady_ns
                self.get_logger().warning(text)
        if ended is not None:
            self.get_logger().error(ended.message)
        self._tell_made()
        self._action.tick()
        self._publish_status()

    def _tell_made(self) -> None:
        for made in self.session.kept.made():
            for note in made.notes:
                self.get_logger().warning(note)
            if made.error:
                self.get_logger().error(made.error)
            else:
                self.get_logger().info(f"{made.path.name} is written")

    def _publish_status(self) -> None:
        message = messages.status_message(self.session.snapshot(self.now_ns()))
        message.header.stamp = self.get_clock().now().to_msg()
        self._status.publish(message)

    def _publish_diagnostics(self) -> None:
        array = DiagnosticArray(status=[messages.diagnostic_status(self.session.snapshot(self.now_ns()))])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def main() -> int:
    """Run the recorder until SIGINT or SIGTERM: an episode in progress is then finished, labelled as interrupted. 2 where a parameter is refused."""
    # The writer gives up the interpreter several times a picture, and by default waits 5 ms each time for the thread that receives.
    sys.setswitchinterval(_SWITCH_S)
    return run_node("cdp_recorder", RecorderNode, refusals=(ConfigError,), begin=RecorderNode.begin, close=RecorderNode.end)


def _reliability(reliable: bool) -> ReliabilityPolicy:
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT


def _depth(rate_hz: float) -> int:
    return max(STATE_DEPTH, round(_DEPTH_S * rate_hz))
