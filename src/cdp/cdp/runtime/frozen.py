"""A camera that shows the same picture again and again under new stamps, while the arm moves: a driver that lost its device, or a stuck buffer."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cdp.data.images import ImageArray
from cdp.geometry import FloatArray

#: The robot streams that tell motion, with the numbers of each that count and how far they must go [m, rad].
_MOTION = {"eef_pose": (slice(0, 3), "m"), "joint_pos": (slice(0, 7), "rad")}


class FrozenCamera:
    """Compares each picture with the one before, pixel by pixel. A picture that repeats while the arm stands still is what a scene without noise
    looks like; one that repeats while the arm moved by more than the limits is not."""

    def __init__(self, motion_m: float, motion_rad: float) -> None:
        self._limits = {"eef_pose": motion_m, "joint_pos": motion_rad}
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._picture: ImageArray | None = None
        self._now: dict[str, FloatArray] = {}
        self._then: dict[str, FloatArray] = {}
        #: What is wrong, in words; empty while nothing is.
        self.finding = ""

    def moved(self, stream: str, value: ArrayLike) -> None:
        """Take a sample of a robot stream, as :meth:`cdp.data.window.ObservationWindow.add` does; those that tell no motion are passed over."""
        if stream in _MOTION:
            self._now[stream] = np.array(value, dtype=np.float64)[_MOTION[stream][0]]

    def see(self, rgb: ImageArray) -> None:
        """Take a picture (H, W, 3) uint8; it is kept, not copied."""
        if self._picture is None or not np.array_equal(self._picture, rgb):
            self._then, self.finding = dict(self._now), ""
        else:
            # Only a repeated picture tells: the arm may move far until a late one comes.
            self.finding = next((text for stream in self._then if (text := self._gone(stream))), "")
        self._picture = rgb

    def _gone(self, stream: str) -> str:
        gone = float(np.linalg.norm(self._now[stream] - self._then[stream]))
        return f"shows the same picture although the arm has moved by {gone:.3f} {_MOTION[stream][1]}" if gone > self._limits[stream] else ""
