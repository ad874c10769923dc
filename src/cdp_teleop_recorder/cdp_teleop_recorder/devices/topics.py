"""Devices that a ROS driver publishes: the `spacenav` driver's two topics, and a gamepad's sensor_msgs/Joy. The node feeds them; no ROS in here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cdp.config import ConfigError, setting
from cdp_teleop_recorder.devices.base import Clock, DeviceError, Reading, clipped

NS_PER_S = 1_000_000_000
# Asking who publishes walks through all that DDS has discovered: not at every poll.
_ASK_NS = NS_PER_S // 5


class TopicDevice:
    """Open while somebody publishes; lost when nobody does, or, with ``silence_ns``, when nothing came for that long."""

    def __init__(self, name: str, topic: str, fix: str, publishers: Callable[[], int], clock_ns: Clock, silence_ns: int | None = None) -> None:
        self.name, self._topic, self._fix = name, topic, fix
        self._publishers, self._clock_ns, self._silence_ns = publishers, clock_ns, silence_ns
        self._readings: list[Reading] = []
        self._axes = np.zeros(6)
        self._buttons: list[bool] = []
        self._heard_ns: int | None = None
        self._moved_ns = 0
        self._asked_ns = -_ASK_NS
        self._named = False
        self._is_open = False

    def put(self, axes: ArrayLike | None = None, buttons: Sequence[int] | None = None) -> None:
        """A message: deflections (6,), or buttons. Buttons that it does not name stay as they were, as the `spacenav` driver means it."""
        self._heard_ns = self._clock_ns()
        if axes is not None:
            self._axes, self._moved_ns = clipped(np.asarray(axes, dtype=np.float64)), self._heard_ns
        if buttons is not None:
            self._buttons[: len(buttons)] = [bool(b) for b in buttons]
            self._named = True
        # A deflection alone would look like a deadman that was let go.
        if self._is_open and self._named:
            self._readings.append(Reading(self._moved_ns, self._axes, tuple(self._buttons)))

    def open(self) -> str:
        """Raises DeviceError while nobody publishes."""
        self._check()
        self._is_open, self._named, self._readings, self._axes, self._buttons = True, False, [], np.zeros(6), []
        return f"what is published on {self._topic}"

    def read(self) -> list[Reading]:
        """Raises DeviceError when the publisher is gone or silent."""
        if not self._is_open:
            return []
        if self._readings or self._clock_ns() - self._asked_ns >= _ASK_NS:
            self._check()
        readings, self._readings = self._readings, []
        return readings

    def close(self) -> None:
        """Listen no longer."""
        self._is_open, self._readings, self._heard_ns = False, [], None

    def _check(self) -> None:
        now_ns = self._clock_ns()
        if self._silence_ns is not None and (self._heard_ns is None or now_ns - self._heard_ns > self._silence_ns):
            raise DeviceError(self.name, f"nothing comes on {self._topic}", self._fix)
        if self._silence_ns is None and now_ns - self._asked_ns >= _ASK_NS:
            if self._publishers() == 0:
                raise DeviceError(self.name, f"nobody publishes {self._topic}", self._fix)
            self._asked_ns = now_ns


@dataclass(frozen=True)
class JoyConfig:
    """How a gamepad's Joy messages become deflections; the defaults are the sticks as ``game_controller_node`` of the package joy numbers them."""

    joy_axes: tuple[int, int, int, int, int, int] = setting(
        (1, 0, 3, -1, -1, 2), low=-1, high=31, help="gamepad: axis of the Joy message for x, y, z, rx, ry, rz of the device; -1 for none"
    )
    joy_timeout_s: float = setting(0.5, low=0.1, high=5.0, help="gamepad: unplugged when nothing comes for this long; drivers repeat at 20 Hz [s]")

    def __post_init__(self) -> None:
        used = [axis for axis in self.joy_axes if axis >= 0]
        if len(set(used)) != len(used):
            raise ConfigError(f"joy_axes: {list(self.joy_axes)} uses an axis twice")


def joy_deflection(config: JoyConfig, axes: Sequence[float]) -> list[float]:
    """Deflections (6,) of a Joy message's axes; one that the message has not is zero."""
    return [float(axes[i]) if 0 <= i < len(axes) else 0.0 for i in config.joy_axes]
