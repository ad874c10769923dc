"""The arm and the hand as capsules and two boxes that contain them, for MuJoCo to measure distances between.

Each link's shape was fitted around the vertices of its visual mesh (Franka Robotics' meshes as shipped in `franky-sim`), plus 3 mm; a test holds
the shapes to contain every vertex. The shapes are ours, so that a robot's computer needs neither meshes nor their package. In the frame of each link,
which is that of ``kinematics.LINKS``; the hand's and the fingers' in that of the hand, 0.107 m beyond link 7, turned by -45 degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from cdp.geometry import FloatArray, matrix_to_quat
from cdp_franka.kinematics import HAND, LINKS

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Capsule:
    """All points within ``radius_m`` of a straight line."""

    begin_m: Triple
    end_m: Triple
    radius_m: float


@dataclass(frozen=True)
class Box:
    """A box along the frame's axes."""

    centre_m: Triple
    half_m: Triple


LINK_SHAPES: tuple[tuple[Capsule, ...], ...] = (
    (Capsule((-0.0634, -0.0026, 0.0380), (0.0005, -0.0005, 0.0497), 0.1101),),
    (
        Capsule((-0.0002, 0.0007, -0.1585), (-0.0023, -0.0499, -0.0699), 0.0684),
        Capsule((0.0, -0.0431, 0.0004), (0.0023, -0.0610, 0.0016), 0.0727),
    ),
    (Capsule((-0.0004, -0.1465, 0.0039), (-0.0001, 0.0018, 0.0537), 0.0793),),
    (Capsule((0.0009, -0.0016, -0.0819), (0.0829, 0.0424, 0.0), 0.0736),),
    (Capsule((-0.0830, 0.0831, -0.0003), (0.0, -0.0001, 0.0422), 0.0727),),
    (
        Capsule((0.0005, 0.0, -0.2383), (-0.0007, 0.0784, -0.1201), 0.0627),
        Capsule((-0.0013, 0.0874, -0.0172), (0.0010, 0.0578, 0.0030), 0.0680),
    ),
    (Capsule((0.0230, 0.0051, 0.0039), (0.0868, 0.0091, -0.0012), 0.0786),),
    (Capsule((-0.0140, -0.0128, 0.0681), (0.0352, 0.0324, 0.0867), 0.0524),),
)
HAND_SHAPE = Box((0.0, -0.0015, 0.020), (0.035, 0.1055, 0.049))
# Both fingers at any opening, down to their tips.
FINGERS_SHAPE = Box((0.0, 0.0, 0.0855), (0.014, 0.070, 0.0305))

# The fingers' last 2 cm as they are, for the table, which they come close to. To either side: half of the opening, and a finger's thickness.
TIPS_CENTRE_M, TIPS_HALF_M = (0.0, 0.0, 0.1032), (0.0091, 0.0091)
FINGER_THICKNESS_M = 0.0157
WIDEST_M = 0.08

HAND_INDEX, FINGERS_INDEX, TIPS_INDEX = 8, 9, 10
PART_NAMES = (*(f"link{i}" for i in range(8)), "the hand", "the fingers", "the fingertips")
# Neighbours in the chain touch by construction, and so do the wrist's parts two apart; those pairs cannot meet otherwise within the joint limits.
_APART = 3
_UNCHECKED = {(4, 7), (5, 8), (5, 9)}
_SIGHT_M = 0.15


def pairs() -> list[tuple[int, int]]:
    """Parts that are checked against one another, by index in ``PART_NAMES``."""
    chain = [min(i, 7) for i in range(TIPS_INDEX)]
    parts = range(TIPS_INDEX)
    return [(a, b) for a in parts for b in parts[a + 1 :] if chain[b] - chain[a] >= _APART - (b > 7) and (a, b) not in _UNCHECKED]


@dataclass(frozen=True)
class Clearance:
    """Least distance [m], at most 0.15, and between what."""

    metres: float
    between: str


class ArmModel:
    """Distances of the arm to itself and to a table plane, by MuJoCo."""

    def __init__(self, table_z_m: float) -> None:
        """The table is everything below ``table_z_m``; links 0 and 1 stand on it and are left out."""
        self._model = _build(table_z_m).compile()
        self._data = mujoco.MjData(self._model)
        self._tips = self._model.geom(f"{TIPS_INDEX}_0").id
        self._part = [int(self._model.geom(g).name.split("_")[0]) for g in range(self._model.ngeom)]

    def clearances(self, q_rad: FloatArray, opening_m: float = WIDEST_M) -> tuple[Clearance, Clearance, Clearance]:
        """Of the arm to itself, of arm and hand to the table, of the fingertips to the table; at joint angles (7,) and this opening, up to 0.08 m."""
        self._model.geom_size[self._tips, 1] = 0.5 * min(max(opening_m, 0.0), WIDEST_M) + FINGER_THICKNESS_M
        self._data.qpos[:] = q_rad
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_collision(self._model, self._data)
        nearest = [Clearance(_SIGHT_M, "")] * 3
        contacts = self._data.contact
        for dist, (a, b) in zip(contacts.dist.tolist(), contacts.geom.tolist(), strict=True):
            first, second = sorted((self._part[a], self._part[b]))
            kind = (1 + (second == TIPS_INDEX)) if first < 0 else 0
            if dist < nearest[kind].metres:
                names = [PART_NAMES[i] if i >= 0 else "the table" for i in (second, first)]
                nearest[kind] = Clearance(dist, " and ".join(names))
        return nearest[0], nearest[1], nearest[2]


def _build(table_z_m: float) -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    table = spec.worldbody.add_geom(name="-1_table", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], pos=[0, 0, table_z_m])
    geoms: dict[int, list[str]] = {-1: [table.name]}
    body = spec.worldbody
    tips = Box(TIPS_CENTRE_M, (TIPS_HALF_M[0], 0.5 * WIDEST_M + FINGER_THICKNESS_M, TIPS_HALF_M[1]))
    parts: tuple[tuple[Capsule | Box, ...], ...] = (*LINK_SHAPES, (HAND_SHAPE,), (FINGERS_SHAPE,), (tips,))
    for part, shapes in enumerate(parts):
        if 1 <= part <= 7:
            body = _add_body(body, LINKS[part - 1])
            body.add_joint(type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1])
        elif part == HAND_INDEX:
            body = _add_body(body, HAND)
        geoms[part] = [_add_shape(body, f"{part}_{k}", shape) for k, shape in enumerate(shapes)]
    checked = [*pairs(), *((-1, part) for part in (*range(2, FINGERS_INDEX), TIPS_INDEX))]
    for a, b in checked:
        for first in geoms[a]:
            for second in geoms[b]:
                spec.add_pair(geomname1=first, geomname2=second, margin=_SIGHT_M)
    return spec


def _add_body(parent: mujoco.MjsBody, frame: FloatArray) -> mujoco.MjsBody:
    x, y, z, w = matrix_to_quat(frame[:3, :3])
    body = parent.add_body(pos=frame[:3, 3], quat=[w, x, y, z])
    body.mass, body.inertia, body.explicitinertial = 1.0, np.ones(3), True
    return body


def _add_shape(body: mujoco.MjsBody, name: str, shape: Capsule | Box) -> str:
    kind = mujoco.mjtGeom.mjGEOM_CAPSULE if isinstance(shape, Capsule) else mujoco.mjtGeom.mjGEOM_BOX
    if isinstance(shape, Capsule):
        body.add_geom(name=name, type=kind, fromto=[*shape.begin_m, *shape.end_m], size=[shape.radius_m, 0, 0], contype=0, conaffinity=0)
    else:
        body.add_geom(name=name, type=kind, pos=shape.centre_m, size=shape.half_m, contype=0, conaffinity=0)
    return name
