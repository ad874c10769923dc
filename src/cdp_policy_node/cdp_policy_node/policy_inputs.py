"""What a policy observes, from ROS messages to its session."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from cdp_ros.qos import stream_qos
from cdp_ros.stamps import stamp_to_ns
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState

from cdp.data.images import ImageError
from cdp.runtime.session import Answer, PolicySession, Source, State
from cdp_franka.frames import pose_frame_problem
from cdp_policy_node.policy_messages import image_of, positions_of
from cdp_policy_node.policy_parameters import PolicyParameters

IMAGE_KEY = "agentview_image"


def sources(p: PolicyParameters) -> dict[str, Source]:
    """Topic and timeout of each stream."""
    return {
        IMAGE_KEY: Source(p.image_topic, p.image_timeout_s),
        "joint_pos": Source(p.joint_states_topic, p.state_timeout_s),
        "eef_pose": Source(p.pose_topic, p.state_timeout_s),
        "gripper_width": Source(p.gripper_topic, p.state_timeout_s),
    }


class PolicyInputs:
    """Subscriptions of ``node`` to what the ``session`` observes, from construction to :meth:`close`.

    ``now_ns`` is the node's clock, ``send`` takes the session's answers, and ``said`` is called when the session has something to say.
    """

    def __init__(
        self,
        node: Node,
        p: PolicyParameters,
        session: PolicySession,
        now_ns: Callable[[], int],
        send: Callable[[list[Answer]], None],
        said: Callable[[], None],
    ) -> None:
        self._node, self._session, self._frames = node, session, p.pose_frames
        self._now_ns, self._send, self._said = now_ns, send, said
        streams = session.streams
        self._topics: list[Any] = []
        image = Image if p.image_transport == "raw" else CompressedImage
        self._subscribe(image, p.image_topic, self._on_image, stream_qos(p.image_reliability, p.image_depth, p.reliable))
        if "joint_pos" in streams:
            on_joints = partial(self._on_joints, "joint_pos", p.joint_names)
            self._subscribe(JointState, p.joint_states_topic, on_joints, stream_qos(p.joint_states_reliability, p.state_depth, p.reliable))
        if "gripper_width" in streams:
            on_fingers = partial(self._on_joints, "gripper_width", p.finger_names)
            self._subscribe(JointState, p.gripper_topic, on_fingers, stream_qos(p.gripper_reliability, p.state_depth, p.reliable))
        if "eef_pose" in streams:
            # The broadcaster offers its pose best effort only; a reliable subscription would match the simulator's alone.
            self._subscribe(PoseStamped, p.pose_topic, self._on_pose, stream_qos(p.pose_reliability, p.state_depth, p.lockstep))

    def close(self) -> None:
        """Hear nothing more."""
        for topic in self._topics:
            self._node.destroy_subscription(topic)
        self._topics.clear()

    def _subscribe(self, message: Any, topic: str, callback: Callable[[Any], None], qos: Any) -> None:
        self._topics.append(self._node.create_subscription(message, topic, callback, qos))

    def _on_image(self, message: Any) -> None:
        if self._session.state is State.STOPPED:
            return
        try:
            image = image_of(message)
        except ImageError as error:
            self._refuse(IMAGE_KEY, str(error))
            return
        self._send(self._session.add_image(stamp_to_ns(message.header.stamp), image, self._now_ns()))

    def _on_joints(self, stream: str, names: tuple[str, ...], message: JointState) -> None:
        positions = positions_of(message, names)
        if positions is None:
            return
        value = positions.sum(keepdims=True) if stream == "gripper_width" else positions
        self._send(self._session.add_sample(stream, stamp_to_ns(message.header.stamp), value, self._now_ns()))

    def _on_pose(self, message: PoseStamped) -> None:
        problem = pose_frame_problem(message.header.frame_id, self._frames)
        if problem is not None:
            self._refuse("eef_pose", problem)
            return
        p, q = message.pose.position, message.pose.orientation
        value = (p.x, p.y, p.z, q.x, q.y, q.z, q.w)
        self._send(self._session.add_sample("eef_pose", stamp_to_ns(message.header.stamp), value, self._now_ns()))

    def _refuse(self, stream: str, reason: str) -> None:
        self._session.refuse(stream, reason)
        self._said()
