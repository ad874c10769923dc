"""What the gripper button means: open and close in turn, or close while it is held."""

from __future__ import annotations

from cdp_teleop_recorder.teleop_config import TeleopConfig


class GripperButton:
    """Width wanted of the gripper [m]. A press of the deadman changes nothing of it: what is held stays held."""

    def __init__(self, config: TeleopConfig) -> None:
        self._config = config
        self._was_down = False
        self._presses = 0
        self._changed = False
        self.width_m = config.open_width_m

    def on_button(self, down: bool, driving: bool) -> None:
        """State of the button; it acts while the deadman is held."""
        if down != self._was_down and driving:
            self._presses += int(down)
            self._changed = True
        self._was_down = down

    def rest(self) -> None:
        """The deadman is up: what was pressed in vain is forgotten."""
        self._presses, self._changed = 0, False

    def begin(self, width_m: float | None) -> None:
        """Start driving at a width; None where it is not known."""
        if width_m is not None:
            self.width_m = width_m

    def apply(self) -> float:
        """The width after what was pressed since the last call."""
        config = self._config
        if config.gripper_mode == "hold" and self._changed:
            self.width_m = config.closed_width_m if self._was_down else config.open_width_m
        elif config.gripper_mode == "toggle":
            for _ in range(self._presses):
                is_open = self.width_m > 0.5 * (config.open_width_m + config.closed_width_m)
                self.width_m = config.closed_width_m if is_open else config.open_width_m
        self._presses, self._changed = 0, False
        return self.width_m
