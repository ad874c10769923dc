"""A SpaceMouse through the kernel's hidraw, by the library pyspacemouse: no daemon, but the right to open the device."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
from typing import Any

import numpy as np

from cdp_teleop_recorder.devices.base import Clock, DeviceError, Reading, clipped

_MOST_REPORTS = 1000
_NO_REPORT_S = -1.0  # pyspacemouse's own mark
_INSTALL = "pip install -r requirements/teleop.txt"
_RIGHT = "cdp devices --install-udev, then plug it in again"
_HIDAPI = "sudo apt-get install libhidapi-hidraw0"


class Hidraw:
    """See the module."""

    name = "hidraw"

    def __init__(self, clock_ns: Clock) -> None:
        self._clock_ns = clock_ns
        self._mouse: Any = None
        self._report_s = _NO_REPORT_S
        self._last: Reading | None = None

    def open(self) -> str:
        """Raises DeviceError where a library, the device or the right to open it is missing."""
        library = self._library()
        try:
            found = library.get_connected_devices_by_path()
        except Exception as error:  # noqa: BLE001  # whatever hidapi and its wrapper raise
            raise DeviceError(self.name, f"the HID devices could not be listed: {error}", _HIDAPI) from None
        if not found:
            raise DeviceError(self.name, "no SpaceMouse is plugged in", "plug it in; `lsusb` must list 256f: or 046d:")
        path, model = next(iter(found.items()))
        try:
            # The library greets on standard output.
            with contextlib.redirect_stdout(io.StringIO()):
                self._mouse = library.open_by_path(path, axis_convention=library.AxisConvention.ROS)
        except Exception as error:  # noqa: BLE001  # as above
            raise DeviceError(
                self.name, f"{model} at {path} cannot be opened ({error})", "cdp devices --install-udev, then plug it in again"
            ) from None
        self._report_s, self._last = _NO_REPORT_S, None
        return f"{model} at {path}"

    def read(self) -> list[Reading]:
        """Raises DeviceError when it was unplugged."""
        if self._mouse is None:
            return []
        readings: list[Reading] = []
        if self._last is None:
            # The device tells changes only: what it has not told since it was opened is at rest.
            self._last = Reading(self._clock_ns(), np.zeros(6), ())
            readings.append(self._last)
        try:
            # One call takes one report; its time tells whether there was one.
            for _ in range(_MOST_REPORTS):
                state = self._mouse.read()
                if state.t == self._report_s:
                    break
                self._report_s = state.t
                self._last = self._reading(state)
                readings.append(self._last)
        except Exception as error:  # noqa: BLE001  # as above
            raise DeviceError(self.name, f"the SpaceMouse was unplugged ({error})", "plug it in again") from None
        return readings

    def close(self) -> None:
        """Let go of it."""
        if self._mouse is not None:
            self._mouse.close()
            self._mouse = None

    def _reading(self, state: Any) -> Reading:
        assert self._last is not None
        axes = clipped(np.array([state.x, state.y, state.z, state.roll, state.pitch, state.yaw], dtype=np.float64))
        buttons = tuple(bool(b) for b in state.buttons)
        # A report of buttons says nothing about the deflection.
        of_buttons = buttons != (self._last.buttons or (False,) * len(buttons))
        return Reading(self._last.stamp_ns if of_buttons else self._clock_ns(), axes, buttons)

    def _library(self) -> Any:
        try:
            # The wrapper would import without it, and fail later with a riddle.
            ctypes.CDLL("libhidapi-hidraw.so.0")
        except OSError as error:
            raise DeviceError(self.name, f"the library hidapi is not installed ({error})", f"{_HIDAPI} && {_INSTALL}") from None
        try:
            return importlib.import_module("pyspacemouse")
        except ImportError as error:
            raise DeviceError(self.name, f"pyspacemouse does not import ({error})", _INSTALL) from None
