"""The subset of the package `launch_ros` that this workspace uses."""

from typing import NoReturn

from launch_ros import actions, parameter_descriptions, substitutions

from cdp_ros2.errors import refuse_name

__all__ = ["actions", "parameter_descriptions", "substitutions"]


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, __all__)
