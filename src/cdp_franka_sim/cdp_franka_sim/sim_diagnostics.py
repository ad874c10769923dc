"""How the simulation keeps up, once a second."""

from __future__ import annotations

import time

from cdp_ros.stamps import NS_PER_S
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from cdp_franka_sim.sim_pictures import Pictures

_PERIOD_S = 1.0
_SLOW_CAMERA, _SLOW_TIME = 0.9, 0.95


class Diagnostics:
    """``slow``: what to warn of, after :meth:`due` gave a message; empty where nothing is wrong."""

    def __init__(self, pictures: Pictures, sim_ns: int, camera_rate_hz: float, real_time: bool) -> None:
        """``real_time``: slower than that is worth a warning."""
        self._pictures, self._rate_hz, self._real_time = pictures, camera_rate_hz, real_time
        self._last = (time.monotonic(), sim_ns, 0)
        self.slow = ""

    def due(self, sim_ns: int, slipped_ns: int, timeouts: int) -> DiagnosticArray | None:
        """The message, without a stamp; None while the last is younger than a second."""
        wall_s, last_ns, images = self._last
        elapsed_s = time.monotonic() - wall_s
        if elapsed_s < _PERIOD_S:
            return None
        factor = (sim_ns - last_ns) / NS_PER_S / elapsed_s
        camera_hz = (self._pictures.taken - images) / elapsed_s
        self._last = (time.monotonic(), sim_ns, self._pictures.taken)
        slow = self._real_time and (camera_hz < _SLOW_CAMERA * self._rate_hz or factor < _SLOW_TIME)
        self.slow = f"the simulator runs at {factor:.2f} of real time, its camera at {camera_hz:.1f} Hz: this machine is too busy" if slow else ""
        status = DiagnosticStatus(
            level=DiagnosticStatus.WARN if slow else DiagnosticStatus.OK,
            name="cdp_franka_sim",
            message="slower than real time" if slow else "running",
            hardware_id="mujoco",
            values=[
                KeyValue(key="real_time_factor", value=f"{factor:.3f}"),
                KeyValue(key="camera_hz", value=f"{camera_hz:.1f}"),
                KeyValue(key="images_skipped", value=str(self._pictures.late)),
                KeyValue(key="slipped_s", value=f"{slipped_ns / NS_PER_S:.3f}"),
                KeyValue(key="lockstep_timeouts", value=str(timeouts)),
            ],
        )
        return DiagnosticArray(status=[status])
