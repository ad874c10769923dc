"""Whether the controller at the other end of a topic is there, and what is there instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.node import Node

# They read a command topic without being a controller.
_ONLOOKERS = ("_ros2cli", "rosbag2", "cdp_recorder", "cdp_episode_runner", "rviz", "rqt", "foxglove_bridge", "rosbridge")
# The endpoint is known and its node not yet.
_UNKNOWN = "_NODE_NAME_UNKNOWN_"


#: Name of a node, and the identifier of its endpoint: a peer that starts anew has another.
Reader = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class Peer:
    """What a command interface needs at the other end.

    ``topic_type`` as in ``trajectory_msgs/msg/JointTrajectory``; ``controller`` and ``plugin`` are the name and the class in the controller manager
    (an empty name for a node of its own, an empty class for any); ``start`` says how to start it.
    """

    topic: str
    topic_type: str
    start: str
    controller: str = ""
    plugin: str = ""


def readers(node: Node, peer: Peer) -> frozenset[Reader]:
    """Those who read the topic with the right type."""
    return frozenset((_name(info), tuple(info.endpoint_gid)) for info in _readers(node, peer) if info.topic_type == peer.topic_type)


def started_anew(before: frozenset[Reader], now: frozenset[Reader]) -> bool:
    """Whether one of those who read before has gone, or is there again: DDS keeps a reader that was killed for some 20 s beside its successor."""
    names = {name for name, _ in before}
    return not before <= now or any(name in names for name, _ in now - before)


def graph_problem(node: Node, peer: Peer) -> str | None:
    """What keeps ``peer`` from hearing ``node``, of all that the ROS graph shows: no reader, one of another type, a second publisher."""
    found = _readers(node, peer)
    if not any(info.topic_type == peer.topic_type for info in found):
        others = ", ".join(sorted(f"{_name(info)} reads it as {info.topic_type}" for info in found)) or "nobody reads it"
        return f"{peer.topic} ({peer.topic_type}): {others}; {peer.start}"
    writers = [_name(info) for info in node.get_publishers_info_by_topic(peer.topic) if info.node_name != _UNKNOWN]
    own = f"{node.get_namespace().rstrip('/')}/{node.get_name()}"
    if own in writers:
        writers.remove(own)
    if writers:
        return f"{peer.topic}: published by {', '.join(sorted(set(writers)))} too, and the guard has to be the only one; stop that"
    return None


def _readers(node: Node, peer: Peer) -> list[Any]:
    return [info for info in node.get_subscriptions_info_by_topic(peer.topic) if not info.node_name.startswith((*_ONLOOKERS, _UNKNOWN))]


def spawn(controller: str, config: str = "") -> str:
    """How to start a ros2_control controller."""
    return f"start it: ros2 run controller_manager spawner {controller}{config}"


def _name(info: Any) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
