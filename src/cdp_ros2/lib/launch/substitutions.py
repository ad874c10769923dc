"""Substitutions."""

from typing import NoReturn

from cdp_ros2.errors import refuse_name
from cdp_ros2.substitutions import (
    EnvironmentVariable,
    EqualsSubstitution,
    LaunchConfiguration,
    NotEqualsSubstitution,
    PathJoinSubstitution,
    PythonExpression,
    TextSubstitution,
    ThisLaunchFileDir,
)

__all__ = [
    "EnvironmentVariable",
    "EqualsSubstitution",
    "LaunchConfiguration",
    "NotEqualsSubstitution",
    "PathJoinSubstitution",
    "PythonExpression",
    "TextSubstitution",
    "ThisLaunchFileDir",
]


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, __all__)
