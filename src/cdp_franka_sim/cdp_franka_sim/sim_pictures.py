"""The camera's own time: when a picture is due, and which are left out."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from cdp_msgs.msg import TaskState
from cdp_ros.stamps import NS_PER_S
from numpy.typing import NDArray

from cdp.geometry import FloatArray
from cdp_franka_sim.render_thread import RenderThread
from cdp_franka_sim.sim_outlet import Outlet

# A picture may wait for the one before it and one more: a moment of load then delays pictures and loses none.
_WAITING = 1


class Pictures:
    """``next_ns``: when the next is due; ``newest_ns``: the newest one's stamp; ``taken`` and ``late``: how many, and how many were left out."""

    def __init__(self, render: RenderThread, outlet: Outlet, rate_hz: float, first_ns: int, wait: bool) -> None:
        """``wait``: for each picture to be out, as in lock-step."""
        self._render, self._outlet, self._wait = render, outlet, wait
        self._period_ns = round(NS_PER_S / rate_hz)
        self.next_ns = first_ns
        self.newest_ns = self.taken = self.late = 0

    def due(self, now_ns: int) -> bool:
        """Whether one is to be taken; the next is then due a period later."""
        if now_ns < self.next_ns:
            return False
        self.next_ns += self._period_ns
        if self.next_ns <= now_ns:
            # After lost time a camera goes on at its rate; it does not send what it owes in a burst.
            self.next_ns = now_ns + self._period_ns
        if self._render.waiting > _WAITING:
            # A camera that cannot keep up loses pictures; it does not send old ones late.
            self.late += 1
            return False
        return True

    def take(self, positions: FloatArray, truth: TaskState, now_ns: int, stamp: Time) -> None:
        """Draw the scene with the positions (nq,) and send the picture, from the thread that draws."""
        self.newest_ns = now_ns

        def deliver(rgb: NDArray[np.uint8]) -> None:
            self._outlet.picture(rgb, self._render.camera.intrinsics, truth, stamp)

        done = self._render.draw(positions, deliver)
        self.taken += 1
        if self._wait:
            done.wait()
