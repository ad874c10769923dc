"""What a device is: something that is opened, polled for readings and closed, and that says what is wrong in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cdp.geometry import FloatArray

AXES = ("x", "y", "z", "rx", "ry", "rz")
Clock = Callable[[], int]


@dataclass(frozen=True, eq=False)
class Reading:
    """State of a device. ``stamp_ns``: when the device last said how far it is deflected, by the machine's monotonic clock.

    ``axes`` (6,) in [-1, 1]: deflection along and about forward, left and up of the person at the device (right-handed, ROS REP 103).
    ``buttons``: whether each is down, in the device's own order; one that the device has not named yet is up.
    """

    stamp_ns: int
    axes: FloatArray
    buttons: tuple[bool, ...]

    def button(self, index: int) -> bool:
        """Whether a button is down; one that the device has not, or -1 for none, never is."""
        return 0 <= index < len(self.buttons) and self.buttons[index]


class DeviceError(RuntimeError):
    """A device that cannot be opened, or was lost: its name, what happened, and what to do about it."""

    def __init__(self, device: str, problem: str, fix: str) -> None:
        super().__init__(f"{device}: {problem}; {fix}")
        self.device, self.problem, self.fix = device, problem, fix


class Device(Protocol):
    """One way to a device. Not thread-safe; ``read`` never blocks."""

    name: str

    def open(self) -> str:
        """Connect, and say in words to what. Raises :class:`DeviceError`."""

    def read(self) -> list[Reading]:
        """What is new since the last call, oldest first, with one reading for each change of a button. Raises :class:`DeviceError` when lost.

        A device that tells changes only begins with a reading at rest: what is held down when it is opened counts once it is pressed anew.
        """

    def close(self) -> None:
        """Let go of it; harmless on one that is not open."""


def clipped(axes: FloatArray) -> FloatArray:
    """Deflections (6,) within [-1, 1]; not finite counts as none."""
    return np.asarray(np.clip(np.nan_to_num(axes, nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0))
