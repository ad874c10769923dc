"""What to put where for the start that a seed draws: read and drawn from the task's own reset, so that arm and simulation start alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.geometry import FloatArray, quat_to_matrix
from cdp_franka_sim.physics import FrankaSim
from cdp_franka_sim.tasks import make_task


class DrawnStarts:
    """Starts of a simulated task. Raises ConfigError for a task that is not there, AssetError where the arm's model is not installed."""

    def __init__(self, task: str) -> None:
        self._sim = FrankaSim(make_task(task))
        self._seed: int | None = None

    def describe(self, seed: int) -> tuple[str, NDArray[np.uint8] | None]:
        """Words and the agent view (H, W, 3) uint8 RGB of the start."""
        self._reset(seed)
        state, pose = self._sim.state(), self._sim.task_state().object_pose
        rotation = quat_to_matrix(pose[3:])
        yaw_deg = float(np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0])))
        text = (
            f"object at x {pose[0]:.3f} m, y {pose[1]:+.3f} m, turned by {yaw_deg:+.0f} deg; hand (fr3_hand_tcp) at {_xyz(state.eef_position_m)}, "
            f"pointing down, opening {1000 * state.gripper_width_m:.0f} mm; everything in fr3_link0"
        )
        return text, self._sim.render()

    def hand_m(self, seed: int) -> FloatArray:
        """Position (3,) of fr3_hand_tcp at the start [m]."""
        self._reset(seed)
        return self._sim.state().eef_position_m

    def close(self) -> None:
        """Free the picture's context."""
        self._sim.close()

    def _reset(self, seed: int) -> None:
        if seed != self._seed:
            self._sim.reset(seed)
            self._seed = seed


def _xyz(position_m: Any) -> str:
    return "x {:.3f} m, y {:+.3f} m, z {:.3f} m".format(*position_m)
