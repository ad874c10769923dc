"""Actions that concern ROS nodes."""

from typing import NoReturn

from cdp_ros2.errors import refuse_name
from cdp_ros2.node import LifecycleNode, Node, SetParameter

__all__ = ["LifecycleNode", "Node", "SetParameter"]


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, __all__)
