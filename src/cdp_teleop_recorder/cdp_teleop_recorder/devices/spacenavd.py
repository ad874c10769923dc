"""A SpaceMouse through the daemon spacenavd, which needs no rights: the system opens the device, many programs share it."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cdp_teleop_recorder.devices.base import Clock, DeviceError, Reading, clipped
from cdp_teleop_recorder.devices.libspnav import BUTTON, DEVICE, DEVICE_REMOVED, MOTION, Event, LibSpnav

# libspnav's x right, y up, z forward, as forward, left, up.
_ORDER = np.array([2, 0, 1, 5, 3, 4])
_SIGNS = np.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])
_MOST_EVENTS = 1000


class Spacenavd:
    """See the module."""

    name = "spacenavd"

    def __init__(self, full_scale: float, clock_ns: Clock, load: Callable[[], LibSpnav] = LibSpnav) -> None:
        """``full_scale``: what the device reports at full deflection, about 350 counts. ``load`` gives the library."""
        self._full_scale, self._clock_ns, self._load = full_scale, clock_ns, load
        self._library: LibSpnav | None = None
        self._axes = np.zeros(6)
        self._moved_ns = 0
        self._told = False
        self._buttons: list[bool] = []

    def open(self) -> str:
        """Raises DeviceError where the library, the daemon or a SpaceMouse is missing."""
        try:
            library = self._load()
        except OSError as error:
            raise DeviceError(self.name, str(error), "sudo apt-get install libspnav0 spacenavd") from None
        if not library.open():
            raise DeviceError(self.name, f"no daemon answers at {_socket_path()}", "sudo apt-get install spacenavd && sudo systemctl start spacenavd")
        device = "a SpaceMouse"
        if library.protocol() >= 1:
            found = library.device_name()
            if found is None:
                library.close()
                raise DeviceError(self.name, "the daemon runs but has no SpaceMouse", "plug it in; `lsusb` must list 256f: or 046d:")
            device = found
        self._library, self._axes, self._buttons = library, np.zeros(6), []
        self._moved_ns, self._told = self._clock_ns(), False
        return f"{device} through spacenavd"

    def read(self) -> list[Reading]:
        """Raises DeviceError when the daemon ended, or the device was pulled out."""
        if self._library is None:
            return []
        # A daemon tells changes only: what it has not told since is at rest.
        readings = [] if self._told else [Reading(self._moved_ns, self._axes, ())]
        self._told = True
        for _ in range(_MOST_EVENTS):
            event = self._library.poll()
            if event is None:
                break
            self._take(event, readings)
        if _hung_up(self._library.fd()):
            raise DeviceError(self.name, "the daemon ended", "sudo systemctl restart spacenavd")
        return readings

    def close(self) -> None:
        """Disconnect."""
        if self._library is not None:
            self._library.close()
            self._library = None

    def _take(self, event: Event, readings: list[Reading]) -> None:
        if event.type == DEVICE and event.device.operation == DEVICE_REMOVED:
            raise DeviceError(self.name, "the SpaceMouse was unplugged", "plug it in again")
        if event.type == MOTION:
            counts = np.array(list(event.motion.values), dtype=np.float64)
            self._axes, self._moved_ns = clipped(_SIGNS * counts[_ORDER] / self._full_scale), self._clock_ns()
        elif event.type == BUTTON:
            number = int(event.button.number)
            self._buttons.extend([False] * (number + 1 - len(self._buttons)))
            self._buttons[number] = bool(event.button.pressed)
        else:
            return
        readings.append(Reading(self._moved_ns, self._axes, tuple(self._buttons)))


def _socket_path() -> Path:
    return Path(os.environ.get("SPNAV_SOCKET", "/var/run/spnav.sock"))


def _hung_up(fd: int) -> bool:
    """Whether the other end of a socket has closed it and nothing is left to read."""
    if not select.select([fd], [], [], 0)[0]:
        return False
    with socket.socket(fileno=os.dup(fd)) as connection:
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
