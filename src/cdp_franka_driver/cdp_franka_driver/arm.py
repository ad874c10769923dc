"""The small interface between the driver and whatever speaks to the robot, so that tests can put a robot of their own behind it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from cdp.geometry import FloatArray


class Mode(Enum):
    """libfranka's ``RobotMode``."""

    OTHER = "other"
    IDLE = "idle"
    MOVE = "move"
    GUIDING = "guiding"
    REFLEX = "reflex"
    USER_STOPPED = "user stopped"
    RECOVERY = "automatic error recovery"


@dataclass(frozen=True, eq=False)
class ArmState:
    """One reading.

    ``robot_time_s`` is the robot's own clock, ``stamp_ns`` the machine's when it was taken. ``q_rad``, ``dq_rad_s``, ``tau_nm`` (7,) are measured,
    ``o_t_ee`` (4, 4) is the end effector as the robot sees it. Where the 1 kHz loop wants to be: ``q_desired_rad`` (7,), or ``pose_desired`` (7,),
    position and quaternion wxyz, None for the interface that is not in use and without control. ``errors``: names of libfranka's errors that are set
    now; ``last_errors``: those that ended the last motion. ``success_rate``: share of the last 100 commands that the robot received in time.
    ``scheduling``: what the loop's thread was refused of it.
    """

    stamp_ns: int
    robot_time_s: float
    mode: Mode
    q_rad: FloatArray
    dq_rad_s: FloatArray
    tau_nm: FloatArray
    o_t_ee: FloatArray
    errors: tuple[str, ...] = ()
    last_errors: tuple[str, ...] = ()
    success_rate: float = 0.0
    scheduling: str = ""
    q_desired_rad: FloatArray | None = None
    pose_desired: FloatArray | None = None


class Arm(Protocol):
    """A connected arm. Each call may raise what :func:`cdp_franka_driver.problems.of_exception` explains."""

    def state(self) -> ArmState | None:
        """The newest reading; None where none has come since the last call."""

    def start_control(self) -> None:
        """Take control and hold the arm where it is."""

    def controlling(self) -> bool:
        """Whether the 1 kHz loop runs."""

    def ended(self) -> str:
        """What ended the loop, in libfranka's words; empty where it was stopped."""

    def stop_control(self) -> None:
        """End the motion; the robot holds the arm."""

    def follow(self, target: FloatArray) -> None:
        """The newest target, a row of :mod:`cdp_franka_driver.layout`."""

    def recover(self) -> None:
        """libfranka's ``automatic_error_recovery``."""

    def close(self) -> None:
        """Give the connection up."""
