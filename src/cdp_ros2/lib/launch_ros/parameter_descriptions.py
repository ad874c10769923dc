"""Values of ROS parameters."""

from typing import NoReturn

from cdp_ros2.errors import refuse_name
from cdp_ros2.parameters import ParameterValue

__all__ = ["ParameterValue"]


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, __all__)
