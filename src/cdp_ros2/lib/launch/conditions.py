"""Conditions."""

from typing import NoReturn

from cdp_ros2.conditions import IfCondition, UnlessCondition
from cdp_ros2.errors import refuse_name

__all__ = ["IfCondition", "UnlessCondition"]


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, __all__)
