"""The keyboard of a terminal, read as characters: works over SSH, in a console and under Wayland, since no window system is asked."""

from __future__ import annotations

import atexit
import os
import select
import termios
import tty
from typing import Any

from cdp_teleop_recorder.devices.base import Clock, DeviceError, Reading
from cdp_teleop_recorder.devices.keys import HELP, Keys, KeysConfig, split_keys

_OWN = "/dev/tty"
_FIX = "run teleop in a terminal of its own: ros2 run cdp_teleop_recorder teleop_node --ros-args -p device:=keyboard"


class Keyboard:
    """See the module. The terminal's settings are put back on ``close`` and at the end of the process."""

    name = "keyboard"

    def __init__(self, config: KeysConfig, clock_ns: Clock, path: str = "") -> None:
        """``path``: the terminal, empty for the one that the process runs in."""
        self._config, self._clock_ns, self._path = config, clock_ns, path or _OWN
        self._keys = Keys(config)
        self._fd: int | None = None
        self._settings: list[Any] = []

    def open(self) -> str:
        """Raises DeviceError where there is no terminal, or the process is not the one that its keys go to."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(self.name, f"no terminal at {self._path} ({error.strerror})", _FIX) from None
        try:
            if self._path == _OWN and os.tcgetpgrp(fd) != os.getpgrp():
                raise DeviceError(self.name, "the terminal's keys go to another process, as they do under ros2 launch", _FIX)
            self._settings = termios.tcgetattr(fd)
            # Characters one by one and without echo; Ctrl-C still interrupts.
            tty.setcbreak(fd, termios.TCSANOW)
        except (termios.error, OSError) as error:
            os.close(fd)
            raise DeviceError(self.name, f"{self._path} is no terminal ({error})", _FIX) from None
        except DeviceError:
            os.close(fd)
            raise
        self._fd, self._keys = fd, Keys(self._config)
        atexit.register(self.close)
        return f"the keyboard of {self._path}; {HELP}"

    def read(self) -> list[Reading]:
        """The keys since the last call, and how far the deflection has died away. Raises DeviceError when the terminal was closed."""
        if self._fd is None:
            return []
        now_ns = self._clock_ns()
        readings = [reading for key in split_keys(self._characters(self._fd)) for reading in self._keys.press(key, now_ns)]
        self._keys.lapse(now_ns)
        return [*readings, self._keys.reading(now_ns)]

    def close(self) -> None:
        """Put the terminal back as it was."""
        atexit.unregister(self.close)
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            termios.tcsetattr(fd, termios.TCSANOW, self._settings)
        except termios.error:
            pass  # the terminal is gone, and its settings with it
        finally:
            os.close(fd)

    def _characters(self, fd: int) -> str:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        events = poll.poll(0)
        if not events:
            return ""
        try:
            data = os.read(fd, 4096)
        except BlockingIOError:
            return ""
        except OSError:
            data = b""
        if not data:
            raise DeviceError(self.name, f"the terminal {self._path} was closed", _FIX)
        return data.decode(errors="ignore")
