"""Where launch descriptions come from."""

from typing import NoReturn

from cdp_ros2.errors import refuse_name
from cdp_ros2.sources import PythonLaunchDescriptionSource

__all__ = ["PythonLaunchDescriptionSource"]


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, __all__)
