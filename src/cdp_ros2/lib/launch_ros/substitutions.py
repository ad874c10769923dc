"""Substitutions that concern ROS packages."""

from typing import NoReturn

from cdp_ros2.errors import refuse_name
from cdp_ros2.substitutions import FindPackagePrefix, FindPackageShare

__all__ = ["FindPackagePrefix", "FindPackageShare"]


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, __all__)
