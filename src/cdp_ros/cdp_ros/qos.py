"""Quality of service of a sensor stream, from a parameter."""

from __future__ import annotations

from rclpy.qos import QoSProfile, ReliabilityPolicy

#: ``auto`` leaves the choice to the node: best effort from a robot, whose sensors must not wait for anybody, and reliable in lock-step.
RELIABILITIES = ("auto", "best_effort", "reliable")


def stream_qos(reliability: str, depth: int, auto: bool) -> QoSProfile:
    """Profile that keeps the last ``depth`` messages; ``auto`` says what that word of :data:`RELIABILITIES` means: True for reliable.

    A reliable subscription hears nothing from a publisher that offers best effort only; ROS 2 then warns of an incompatible QoS.
    """
    reliable = auto if reliability == "auto" else reliability == "reliable"
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT)
