"""Where arm and gripper are when an episode begins."""

from __future__ import annotations

from dataclasses import dataclass

from cdp.geometry import FloatArray


@dataclass(frozen=True)
class Start:
    """End-effector position (3,) [m] in fr3_link0, the hand pointing down with its fingers spread along y; gripper opening [m]."""

    eef_position_m: FloatArray
    gripper_width_m: float
