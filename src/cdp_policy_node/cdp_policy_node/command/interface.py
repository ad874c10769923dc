"""What all command interfaces have in common."""

from __future__ import annotations

from typing import Any, Protocol

from rclpy.node import Node
from rclpy.qos import QoSProfile

from cdp_franka.chunk import Pose
from cdp_franka.guard_types import GuardOutput
from cdp_policy_node.command.peer import Peer, Reader, graph_problem, readers


class CommandInterface(Protocol):
    """Sends the guard's output to one kind of controller, and knows whether one is there to take it."""

    def problem(self) -> str | None:
        """Why commands would not be taken, what is to be started, in words; None where all is well. Looks only, cheap enough for each second."""

    def readers(self) -> frozenset[Reader]:
        """Identifiers of those who read the commands."""

    def prepare(self) -> None:
        """Ask the peer what has to be known of it, without waiting. Called each second, and before the first command."""

    def send(self, out: GuardOutput, now_ns: int, measured: Pose | None) -> None:
        """Send the output of a tick at ``now_ns``, whose ``send`` is true; ``measured``: newest measured end-effector pose."""


class TopicCommand:
    """A command interface that is one topic."""

    def __init__(self, node: Node, peer: Peer, message_type: Any) -> None:
        """Reliable and volatile: what ros2_control subscribes with (``SystemDefaultsQoS``), and only the newest command counts."""
        self._node, self._peer = node, peer
        self._publisher = node.create_publisher(message_type, peer.topic, QoSProfile(depth=1))

    def problem(self) -> str | None:
        """See :class:`CommandInterface`."""
        return graph_problem(self._node, self._peer)

    def readers(self) -> frozenset[Reader]:
        """See :class:`CommandInterface`."""
        return readers(self._node, self._peer)

    def prepare(self) -> None:
        """Nothing has to be known."""
