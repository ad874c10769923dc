"""Events."""

from typing import NoReturn

from launch.events import process

from cdp_ros2.errors import refuse_name
from cdp_ros2.events import Shutdown

__all__ = ["Shutdown", "process"]


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, __all__)
