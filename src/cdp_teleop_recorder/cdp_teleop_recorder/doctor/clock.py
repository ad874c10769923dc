"""This machine's clock, as its kernel disciplines it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

from cdp_teleop_recorder.doctor.finding import Finding

_UNSYNCHRONISED = 0x40  # STA_UNSYNC of adjtimex(2)
_FAR_S = 0.01
_FIX = "sudo apt-get install chrony && sudo systemctl enable --now chrony"


@dataclass(frozen=True)
class ClockState:
    """What the kernel says: whether something keeps the clock, and the bound of its error [s]."""

    synchronised: bool
    max_error_s: float


class _Timex(ctypes.Structure):
    """The beginning of struct timex, and room for the rest."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    ]


def kernel_clock() -> ClockState:
    """Of this machine, by adjtimex(2), which needs no rights to ask. Raises OSError."""
    timex = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        raise OSError(ctypes.get_errno(), "adjtimex was refused")
    return ClockState(not timex.status & _UNSYNCHRONISED, timex.maxerror / 1e6)


def clock(state: ClockState) -> Iterator[Finding]:
    """Stamps of two machines can be compared only where both keep the same time; on one machine nothing depends on it."""
    if not state.synchronised:
        yield Finding("clock", "warn", "nothing synchronises this clock: stamps of a camera at another machine cannot be compared with ours", _FIX)
    elif state.max_error_s > _FAR_S:
        text = f"synchronised, but only within {1e3 * state.max_error_s:.0f} ms; the guard holds on observations that seem 300 ms old"
        yield Finding("clock", "warn", text, "chronyc tracking says from where; a server in the same network is best")
    else:
        yield Finding("clock", "ok", f"synchronised within {1e3 * state.max_error_s:.1f} ms")
