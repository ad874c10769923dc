"""Slide: push a block along the table into the marked zone.

The hand points down, its half-open fingers spread along y make a two-point pusher. Block position and yaw and the arm's start are drawn from
the seed; the zone is fixed. Success: the block's centre lies within the zone and has rested there for half a second.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from cdp.geometry import FloatArray
from cdp_franka_sim.tasks.start import Start

BLOCK_SIZE_M = (0.07, 0.07, 0.05)
BLOCK_MASS_KG = 0.25
BLOCK_X_M = (0.44, 0.52)
BLOCK_Y_M = (-0.10, 0.10)
BLOCK_YAW_RAD = (-0.35, 0.35)

GOAL_M = (0.68, 0.0)
ZONE_RADIUS_M = 0.04
REST_SPEED_M_S = 0.01
REST_RATE_RAD_S = 0.2

EEF_START_LOW_M = (0.34, -0.06, 0.10)
EEF_START_HIGH_M = (0.38, 0.06, 0.14)
PUSHER_WIDTH_M = 0.04

_ZONE_EDGE_M = 0.006


class SlideTask:
    """See the module's description."""

    name = "slide"
    dwell_s = 0.5

    def add_to(self, spec: Any) -> None:
        """Add the block with a free joint, and the zone as flat discs without contact."""
        half = [0.5 * s for s in BLOCK_SIZE_M]
        spec.add_material(name="block", rgba=[0.90, 0.32, 0.10, 1.0], specular=0.2, shininess=0.2)
        block = spec.worldbody.add_body(name="block", pos=[BLOCK_X_M[0], 0.0, half[2]])
        block.add_freejoint(name="block")
        block.add_geom(
            name="block", type=mujoco.mjtGeom.mjGEOM_BOX, size=half, mass=BLOCK_MASS_KG, material="block", friction=[0.4, 0.005, 0.0001], condim=4
        )
        # Yaw is to be seen in the picture: a light stripe across the top.
        block.add_geom(
            name="block_stripe",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[half[0] * 0.999, 0.007, 0.0005],
            pos=[0.0, 0.0, half[2]],
            rgba=[1.0, 0.86, 0.55, 1.0],
            contype=0,
            conaffinity=0,
            mass=0.0,
        )
        for radius, height, colour in (
            (ZONE_RADIUS_M + _ZONE_EDGE_M, 0.0004, [0.05, 0.30, 0.16, 1.0]),
            (ZONE_RADIUS_M, 0.0008, [0.20, 0.68, 0.38, 1.0]),
        ):
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[radius, height, 0.0], pos=[*GOAL_M, 0.0], rgba=colour, contype=0, conaffinity=0
            )

    def reset(self, data: Any, rng: np.random.Generator) -> Start:
        """Draw block position, block yaw and the arm's start, each uniform in its range."""
        x, y, yaw = rng.uniform(*BLOCK_X_M), rng.uniform(*BLOCK_Y_M), rng.uniform(*BLOCK_YAW_RAD)
        block = data.joint("block")
        block.qpos = [x, y, 0.5 * BLOCK_SIZE_M[2], np.cos(0.5 * yaw), 0.0, 0.0, np.sin(0.5 * yaw)]
        block.qvel = np.zeros(6)
        return Start(rng.uniform(EEF_START_LOW_M, EEF_START_HIGH_M), PUSHER_WIDTH_M)

    def object_pose(self, data: Any) -> FloatArray:
        """Pose (7,) of the block's centre."""
        x, y, z, qw, qx, qy, qz = data.joint("block").qpos
        return np.array([x, y, z, qx, qy, qz, qw])

    def goal_pose(self, data: Any) -> FloatArray:
        """Pose (7,) of the zone's centre on the table."""
        return np.array([*GOAL_M, 0.0, 0.0, 0.0, 0.0, 1.0])

    def distance_m(self, data: Any) -> float:
        """Block's centre to zone's centre in the table plane [m]."""
        return float(np.linalg.norm(data.joint("block").qpos[:2] - np.asarray(GOAL_M)))

    def satisfied(self, data: Any) -> bool:
        """In the zone, on the table, and not moving."""
        block = data.joint("block")
        resting = np.linalg.norm(block.qvel[:3]) < REST_SPEED_M_S and np.linalg.norm(block.qvel[3:]) < REST_RATE_RAD_S
        on_table = abs(block.qpos[2] - 0.5 * BLOCK_SIZE_M[2]) < 0.005
        return bool(resting and on_table and self.distance_m(data) <= ZONE_RADIUS_M)
