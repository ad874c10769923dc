"""Events of processes."""

from typing import NoReturn

from cdp_ros2.errors import refuse_name
from cdp_ros2.events import ProcessExited, ProcessStarted

__all__ = ["ProcessExited", "ProcessStarted"]


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, __all__)
