"""Which controller the guard commands."""

from __future__ import annotations

from dataclasses import dataclass

from cdp.config import ConfigError, setting
from cdp_franka.guard_config import GuardConfig

AUTO = "auto"
# Our own driver takes whatever the guard makes; it is told the same command_interface.
DRIVER = "franka_driver"
# What each controller takes: the guard's command_interface.
TAKES = {
    "joint_trajectory_controller": "joint",
    "cartesian_impedance": "cartesian",
    "crisp_pose": "cartesian",
    "crisp_joint": "joint",
    "forward_position": "joint",
    "servo_twist": "cartesian",
    "servo_pose": "cartesian",
}
_BY_INTERFACE = {"cartesian": "cartesian_impedance", "joint": "joint_trajectory_controller"}


@dataclass(frozen=True)
class CommandConfig:
    """Settings of the guard's output."""

    controller: str = setting(
        AUTO,
        choices=(AUTO, *TAKES, DRIVER),
        help="what is commanded; auto: cartesian_impedance or joint_trajectory_controller, by command_interface",
    )
    controller_name: str = setting("", help="name of the controller, or of the Servo node; empty: the usual one")
    controller_namespace: str = setting("", help="namespace of the controllers; empty: none")
    point_lead_periods: float = setting(3.0, low=1.0, high=10.0, help="a trajectory point is due this many command periods after it is sent")
    servo_gain_per_s: float = setting(2.0, low=0.0, high=10.0, help="servo_twist: how fast the arm is drawn to the target besides its speed [1/s]")

    def chosen(self, guard: GuardConfig) -> str:
        """The controller that ``guard`` is to command. Raises ConfigError for one that takes other commands."""
        interface = guard.command_interface
        controller = _BY_INTERFACE[interface] if self.controller == AUTO else self.controller
        if controller != DRIVER and TAKES[controller] != interface:
            raise ConfigError(
                f"controller: {controller!r} takes {TAKES[controller]} commands and command_interface is {interface!r}: "
                f"set command_interface to {TAKES[controller]!r}, or controller to {_others(interface)}"
            )
        return controller

    def absolute(self, *parts: str) -> str:
        """A name in the controllers' namespace, e.g. ``/left/fr3_arm_controller/joint_trajectory``."""
        return "/" + "/".join(part.strip("/") for part in (self.controller_namespace, *parts) if part.strip("/"))


def _others(interface: str) -> str:
    return " or ".join(repr(name) for name, takes in TAKES.items() if takes == interface)
