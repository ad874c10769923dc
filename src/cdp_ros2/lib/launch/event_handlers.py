"""Reactions to events."""

from typing import NoReturn

from cdp_ros2.errors import refuse_name
from cdp_ros2.events import OnProcessExit, OnProcessStart, OnShutdown

__all__ = ["OnProcessExit", "OnProcessStart", "OnShutdown"]


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, __all__)
