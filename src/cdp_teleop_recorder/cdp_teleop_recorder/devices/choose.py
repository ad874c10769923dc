"""Which device teleoperation listens to, by parameter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cdp.config import setting
from cdp_teleop_recorder.devices.base import Clock, Device
from cdp_teleop_recorder.devices.hidraw import Hidraw
from cdp_teleop_recorder.devices.keyboard import Keyboard
from cdp_teleop_recorder.devices.keys import KeysConfig
from cdp_teleop_recorder.devices.spacenavd import Spacenavd
from cdp_teleop_recorder.devices.topics import NS_PER_S, JoyConfig, TopicDevice

# What `auto` tries, in this order. Never the keyboard: typing must not move an arm that nobody chose to drive by keys.
AUTO = ("spacenavd", "hidraw", "spacenav", "joy")
TWIST_TOPIC, BUTTONS_TOPIC, JOY_TOPIC = "/spacenav/twist", "/spacenav/joy", "/joy"


@dataclass(frozen=True)
class DeviceConfig:
    """Settings of the choice; ranges are closed."""

    device: Literal["auto", "spacenavd", "hidraw", "keyboard", "joy", "spacenav"] = setting(
        "auto", help="what moves the arm: auto (spacenavd, hidraw, spacenav, joy, the first that is there), or one of them, or keyboard"
    )
    full_scale_counts: float = setting(350.0, low=50.0, high=2000.0, help="spacenavd: what the SpaceMouse reports at full deflection")
    keyboard_tty: str = setting("", help="keyboard: path of the terminal; empty for the one that the node runs in")
    # Numbers of the buttons for deadman, gripper and takeover, -1 for none.
    spacemouse_buttons: tuple[int, int, int] = setting((0, 1, 2), low=-1, high=63, help="SpaceMouse: the buttons for deadman, gripper, takeover")
    joy_buttons: tuple[int, int, int] = setting((9, 10, 3), low=-1, high=63, help="gamepad: the buttons for deadman, gripper, takeover")

    def buttons(self, device: str) -> tuple[int, int, int]:
        """Numbers of the buttons for deadman, gripper and takeover on a device."""
        return {"keyboard": (0, 1, 2), "joy": self.joy_buttons}.get(device, self.spacemouse_buttons)


def spacenav_topics(publishers: Callable[[str], int], clock_ns: Clock) -> TopicDevice:
    """The `spacenav` driver's topics; ``publishers`` counts who publishes a topic."""
    return TopicDevice("spacenav", BUTTONS_TOPIC, "ros2 run spacenav spacenav_node", lambda: publishers(BUTTONS_TOPIC), clock_ns)


def joy_topic(config: JoyConfig, publishers: Callable[[str], int], clock_ns: Clock) -> TopicDevice:
    """A gamepad's topic."""
    silence_ns = round(config.joy_timeout_s * NS_PER_S)
    fix = "plug the gamepad in and run: ros2 run joy game_controller_node"
    return TopicDevice("joy", JOY_TOPIC, fix, lambda: publishers(JOY_TOPIC), clock_ns, silence_ns)


def choose(config: DeviceConfig, keys: KeysConfig, spacenav: TopicDevice, joy: TopicDevice, clock_ns: Clock) -> list[Device]:
    """The devices to try, in order."""
    names = AUTO if config.device == "auto" else (config.device,)
    makers: dict[str, Callable[[], Device]] = {
        "spacenavd": lambda: Spacenavd(config.full_scale_counts, clock_ns),
        "hidraw": lambda: Hidraw(clock_ns),
        "keyboard": lambda: Keyboard(keys, clock_ns, config.keyboard_tty),
        "spacenav": lambda: spacenav,
        "joy": lambda: joy,
    }
    return [makers[name]() for name in names]
