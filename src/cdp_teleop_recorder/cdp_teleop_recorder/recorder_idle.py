"""Finds the times at which the arm stands still: a policy trained on them learns to stand still."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


class IdleWatch:
    """Idle is the arm from a stamp on until some joint is ``motion`` away from where it was then, where that takes ``after_ns`` at least."""

    def __init__(self, after_ns: int, motion: float) -> None:
        self._after_ns, self._motion = after_ns, motion
        self.restart()

    def restart(self) -> None:
        """Begin an episode."""
        self._joints: NDArray[np.float64] | None = None
        self._since_ns = self._last_ns = 0
        self._idle: list[tuple[int, int]] = []

    def see(self, stamp_ns: int, joints: ArrayLike) -> None:
        """The arm is at ``joints`` (J,) at this stamp."""
        here = np.asarray(joints, dtype=np.float64)
        moved = self._joints is None or here.shape != self._joints.shape or bool((np.abs(here - self._joints) > self._motion).any())
        if moved or stamp_ns < self._since_ns:
            self._close()
            self._joints, self._since_ns = here, stamp_ns
        self._last_ns = stamp_ns

    @property
    def idle_s(self) -> float:
        """For so long the arm has stood still now [s]."""
        return (self._last_ns - self._since_ns) / 1e9

    def intervals_ns(self) -> tuple[tuple[int, int], ...]:
        """First and last stamp of each time that the arm stood still."""
        now = (self._since_ns, self._last_ns)
        return (*self._idle, now) if now[1] - now[0] >= self._after_ns else tuple(self._idle)

    def _close(self) -> None:
        if self._joints is not None and self._last_ns - self._since_ns >= self._after_ns:
            self._idle.append((self._since_ns, self._last_ns))
