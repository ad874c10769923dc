"""Whether the controller at the other end of a topic is there, and what is there instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.node import Node

# They read a command topic without being a controller.
_ONLOOKERS = ("_ros2cli", "rosbag2", "cdp_recorder", "_NODE_NAME_UNKNOWN_")


@dataclass(frozen=True)
class Peer:
    """What a command interface needs at the other end.

    ``topic_type`` as in ``trajectory_msgs/msg/JointTrajectory``; ``controller`` and ``plugin`` are the name and the class in the controller manager
    (both empty for one that is a node of its own); ``start`` says how to start it.
    """

    topic: str
    topic_type: str
    start: str
    controller: str = ""
    plugin: str = ""


def graph_problem(node: Node, peer: Peer) -> str | None:
    """What keeps ``peer`` from hearing ``node``, of all that the ROS graph shows: no reader, one of another type, a second publisher."""
    readers = [info for info in node.get_subscriptions_info_by_topic(peer.topic) if not info.node_name.startswith(_ONLOOKERS)]
    if not any(info.topic_type == peer.topic_type for info in readers):
        found = ", ".join(sorted(f"{_name(info)} reads it as {info.topic_type}" for info in readers)) or "nobody reads it"
        return f"{peer.topic} ({peer.topic_type}): {found}; {peer.start}"
    own = (node.get_name(), node.get_namespace())
    writers = [info for info in node.get_publishers_info_by_topic(peer.topic) if not info.node_name.startswith("_NODE_NAME_UNKNOWN_")]
    others = sorted({_name(info) for info in writers if (info.node_name, info.node_namespace) != own})
    if others:
        return f"{peer.topic}: published by {', '.join(others)} too, and the guard has to be the only one; stop that"
    return None


def spawn(controller: str, config: str = "") -> str:
    """How to start a ros2_control controller."""
    return f"start it: ros2 run controller_manager spawner {controller}{config}"


def _name(info: Any) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
