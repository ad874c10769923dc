"""Settings of the node around the simulated robot."""

from __future__ import annotations

from dataclasses import dataclass

from cdp.config import setting


@dataclass(frozen=True)
class SimNodeConfig:
    """Parameters of ``sim_node``."""

    task: str = setting("slide", help="task of the scene")
    seed: int = setting(0, low=0, high=2**53, help="seed of the first scene")
    lockstep: bool = setting(False, help="step when the guard has answered instead of in real time, and publish /clock")
    lockstep_timeout_s: float = setting(2.0, low=0.05, high=60.0, help="wall time after which a tick goes on without the guard's answer [s]")
    hold_timeout_s: float = setting(30.0, low=0.1, high=600.0, help="wall time after which a reset that holds lets time go on all the same [s]")
    camera_rate_hz: float = setting(30.0, low=1.0, high=60.0, help="rate of the camera [Hz]")
    reset_quiet_s: float = setting(0.2, low=0.05, high=5.0, help="a reset is refused while a command is younger than this [s]")
