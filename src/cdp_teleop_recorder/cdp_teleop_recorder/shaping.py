"""From a device's deflections to the velocity that is wanted: mapping, dead zone, scale, frame, in this order."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray
from cdp_teleop_recorder.devices.base import AXES
from cdp_teleop_recorder.teleop_config import TeleopConfig


def shape_axes(axes: ArrayLike, dead_zone: float) -> FloatArray:
    """Deflections (N,) in [-1, 1] with the dead zone taken out and the rest stretched back to 1; not finite counts as none."""
    values = np.nan_to_num(np.asarray(axes, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(np.sign(values) * np.clip((np.abs(values) - dead_zone) / (1.0 - dead_zone), 0.0, 1.0))


def map_matrix(axis_map: tuple[str, ...]) -> FloatArray:
    """Matrix (6, 6) of 0, 1 and -1 that takes the device's axes to the robot's; ``axis_map`` as in :class:`TeleopConfig`."""
    matrix = np.zeros((6, 6))
    for row, name in enumerate(axis_map):
        if name != "0":
            matrix[row, AXES.index(name[1:])] = 1.0 if name[0] == "+" else -1.0
    return matrix


class Shaping:
    """The settings, ready to be applied."""

    def __init__(self, config: TeleopConfig) -> None:
        self._config = config
        self._map = map_matrix(config.axis_map)
        self._scale = np.array(config.axis_scale) * np.repeat([config.linear_scale_m_s, config.angular_scale_rad_s], 3)

    def velocity(self, axes: ArrayLike, tool: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Linear (3,) [m/s] and angular (3,) [rad/s] velocity in the base frame, for deflections (6,) and the tool's rotation (3, 3)."""
        wanted = self._scale * (self._map @ shape_axes(axes, self._config.dead_zone))
        linear, angular = wanted[:3], wanted[3:]
        return (tool @ linear, tool @ angular) if self._config.frame == "tool" else (linear, angular)
