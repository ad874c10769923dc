"""The subset of the package `launch` that this workspace uses."""

from typing import NoReturn

from launch import actions, conditions, event_handlers, events, launch_description_sources, substitutions

from cdp_ros2.conditions import Condition
from cdp_ros2.context import LaunchContext
from cdp_ros2.entity import Action, LaunchDescription
from cdp_ros2.errors import refuse_name
from cdp_ros2.events import Event, EventHandler
from cdp_ros2.service import LaunchService
from cdp_ros2.sources import LaunchDescriptionSource
from cdp_ros2.substitutions import Substitution

__all__ = [
    "Action",
    "Condition",
    "Event",
    "EventHandler",
    "LaunchContext",
    "LaunchDescription",
    "LaunchDescriptionSource",
    "LaunchService",
    "Substitution",
    "actions",
    "conditions",
    "event_handlers",
    "events",
    "launch_description_sources",
    "substitutions",
]


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, __all__)
