"""Keys of a terminal as a six-axis deflection with buttons. A terminal tells presses and repeats, never releases: deflection dies away by itself.

A press deflects in full for ``hold_s``, then falls to nothing within ``fade_s``. So a tap is a short nudge, and a key held down moves on
once the terminal begins to repeat it. The deadman is switched by the space bar and lapses when no key comes for ``armed_s``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdp.config import setting
from cdp.geometry import FloatArray
from cdp_teleop_recorder.devices.base import Reading

NS_PER_S = 1_000_000_000

HELP = """keys: w/s or up/down forward and back, a/d or left/right, r/f up and down; j/l roll, i/k pitch, u/o yaw; 1..9 share of full deflection;
space deadman on and off, g gripper, t takeover on and off, x or Escape stop"""

_AXES = {"w": 1, "s": -1, "a": 2, "d": -2, "r": 3, "f": -3, "j": -4, "l": 4, "k": 5, "i": -5, "u": 6, "o": -6}
# Arrows and Page Up, Page Down as the keys of the same direction; most terminals send ESC [ and a letter, some ESC O.
_SEQUENCES = {"A": "w", "B": "s", "C": "d", "D": "a", "5~": "r", "6~": "f"}
_STOP = ("x", "\x1b")
DEADMAN, GRIPPER, AUTHORITY = range(3)


@dataclass(frozen=True)
class KeysConfig:
    """Settings of :class:`Keys`; ranges are closed."""

    keyboard_hold_s: float = setting(0.15, low=0.05, high=1.0, help="keyboard: a press deflects in full for this long [s]")
    keyboard_fade_s: float = setting(0.15, low=0.0, high=1.0, help="keyboard: then the deflection falls to nothing within this [s]")
    keyboard_armed_s: float = setting(5.0, low=0.5, high=60.0, help="keyboard: the deadman lapses when no key comes for this long [s]")


def split_keys(text: str) -> list[str]:
    """Keys in what a terminal sent: characters in lower case, Escape sequences as the key of the same direction or as nothing."""
    keys: list[str] = []
    i = 0
    while i < len(text):
        if text[i] == "\x1b" and text[i + 1 : i + 2] in ("[", "O"):
            end = i + 2
            while end < len(text) and not ("@" <= text[end] <= "~"):
                end += 1
            key = _SEQUENCES.get(text[i + 2 : end + 1])
            keys += [key] if key is not None else []
            i = end + 1
        else:
            keys.append(text[i].lower())
            i += 1
    return keys


class Keys:
    """The state of the keys. Time comes in as nanoseconds."""

    def __init__(self, config: KeysConfig) -> None:
        self._hold_ns, self._fade_ns = round(config.keyboard_hold_s * NS_PER_S), round(config.keyboard_fade_s * NS_PER_S)
        self._armed_ns = round(config.keyboard_armed_s * NS_PER_S)
        self._pressed_ns: dict[int, int] = {}
        self._share = 0.5
        self._armed = False
        self._last_ns = 0

    def press(self, key: str, now_ns: int) -> list[Reading]:
        """What a key does at once: one reading, or for a button that only this key stands for, its press and its release."""
        button = {"g": GRIPPER, "t": AUTHORITY}.get(key)
        self.lapse(now_ns)
        self._last_ns = now_ns
        if key in _AXES:
            axis = _AXES[key]
            self._pressed_ns.pop(-axis, None)
            self._pressed_ns[axis] = now_ns
        elif key.isdigit() and key != "0":
            self._share = int(key) / 9
        elif key == " ":
            self._armed = not self._armed
        elif key in _STOP:
            self._armed = False
        if not self._armed:
            self._pressed_ns.clear()
        return [self.reading(now_ns)] if button is None else [self.reading(now_ns, button), self.reading(now_ns)]

    def lapse(self, now_ns: int) -> bool:
        """Let the deadman go where no key came for long; whether that happened now."""
        lapsed = self._armed and now_ns - self._last_ns > self._armed_ns
        self._armed = self._armed and not lapsed
        return lapsed

    def reading(self, now_ns: int, button: int | None = None) -> Reading:
        """The state at a time, with ``button`` down."""
        return Reading(now_ns, self._deflection(now_ns), tuple(self._armed if i == DEADMAN else i == button for i in range(3)))

    def _deflection(self, now_ns: int) -> FloatArray:
        axes = np.zeros(6)
        for axis, pressed_ns in self._pressed_ns.items():
            over_ns = now_ns - pressed_ns - self._hold_ns
            left = 1.0 if over_ns <= 0 else (1.0 - over_ns / self._fade_ns if over_ns < self._fade_ns else 0.0)
            axes[abs(axis) - 1] += np.sign(axis) * self._share * left
        return axes
