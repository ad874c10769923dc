"""The functions of libspnav that are needed, by ctypes, with the event types of its public header spnav.h."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, Union, byref, c_int, c_uint

MOTION, BUTTON, DEVICE = 1, 2, 3
DEVICE_REMOVED = 1


class Motion(Structure):
    """``values``: x y z rx ry rz in the frame of libspnav, x right, y up, z forward; the unit is the device's."""

    _fields_ = [("type", c_int), ("values", c_int * 6), ("period_ms", c_uint), ("data", POINTER(c_int))]


class Button(Structure):
    """A button pressed (1) or released (0)."""

    _fields_ = [("type", c_int), ("pressed", c_int), ("number", c_int)]


class DeviceChange(Structure):
    """A device plugged in or removed; only daemons of protocol 1 tell."""

    _fields_ = [("type", c_int), ("operation", c_int), ("id", c_int), ("kind", c_int), ("usb_id", c_int * 2)]


class Event(Union):
    """spnav_event. The padding covers kinds of events of later versions."""

    _fields_ = [("type", c_int), ("motion", Motion), ("button", Button), ("device", DeviceChange), ("padding", c_int * 32)]


class LibSpnav:
    """The library, which holds one connection per process. Raises OSError where it is not installed."""

    def __init__(self) -> None:
        # By the name of its ABI: ctypes.util.find_library would start processes, at each attempt.
        try:
            self._c = ctypes.CDLL("libspnav.so.0")
        except OSError as error:
            raise OSError(f"the library libspnav is not installed ({error})") from None

    def open(self) -> bool:
        """Connect to spacenavd's socket. Waits up to 0.3 s for an old daemon, which does not answer to its protocol."""
        return bool(self._c.spnav_open() == 0)

    def close(self) -> None:
        """Disconnect."""
        self._c.spnav_close()

    def fd(self) -> int:
        """The connection's file descriptor."""
        return int(self._c.spnav_fd())

    def protocol(self) -> int:
        """Version that the daemon speaks; 0 also where the library is older than versions are (before 1.0)."""
        return int(self._c.spnav_protocol()) if hasattr(self._c, "spnav_protocol") else 0

    def device_name(self) -> str | None:
        """Name of the device behind the daemon, None where there is none. Protocol 1 only."""
        buffer = ctypes.create_string_buffer(256)
        return buffer.value.decode(errors="replace") if self._c.spnav_dev_name(buffer, len(buffer)) >= 0 else None

    def poll(self) -> Event | None:
        """The next event that is waiting, None where there is none."""
        event = Event()
        return event if self._c.spnav_poll_event(byref(event)) else None
