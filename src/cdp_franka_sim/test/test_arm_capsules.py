"""The guard's capsules against the arm's own meshes, which only the simulator's package needs to have installed."""

from pathlib import Path

import mujoco
import numpy as np
import pytest

from cdp_franka.arm_capsules import FINGERS_SHAPE, HAND_SHAPE, LINK_SHAPES, ArmModel, Capsule
from cdp_franka.kinematics import READY_RAD
from cdp_franka.limits import FR3
from cdp_franka_sim import assets

MARGIN_M = 0.0015
BODIES = (*(f"fr3_link{i}" for i in range(8)), "hand")


@pytest.fixture(scope="module")
def arm():
    """The FR3 with its full meshes, and a state of it."""
    folder = assets.model_directory()
    spec = mujoco.MjSpec.from_file(str(folder / "fr3.xml"))
    spec.meshdir = ""
    for mesh in spec.meshes:
        mesh.file = str(folder / "meshes" / Path(mesh.file).name)
    model = spec.compile()
    return model, mujoco.MjData(model)


def vertices(model, body):
    """Every vertex (N, 3) of the meshes of a body, in its frame."""
    found = []
    for g in range(model.ngeom):
        if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_MESH and model.body(model.geom_bodyid[g]).name == body:
            mesh = model.geom_dataid[g]
            begin, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
            turn = np.zeros(9)
            mujoco.mju_quat2Mat(turn, model.geom_quat[g])
            found.append(model.mesh_vert[begin : begin + count] @ turn.reshape(3, 3).T + model.geom_pos[g])
    return np.concatenate(found)


def outside(points, shape):
    """How far each of the points (N, 3) is outside of a shape; negative inside."""
    if isinstance(shape, Capsule):
        begin, along = np.array(shape.begin_m), np.subtract(shape.end_m, shape.begin_m)
        share = np.clip((points - begin) @ along / (along @ along), 0.0, 1.0)
        return np.linalg.norm(points - begin - share[:, None] * along, axis=1) - shape.radius_m
    return np.max(np.abs(points - np.array(shape.centre_m)) - np.array(shape.half_m), axis=1)


@pytest.mark.parametrize("part", range(9), ids=BODIES)
def test_the_shapes_contain_every_vertex_with_a_margin(arm, part):
    """Catches a capsule that was mistyped, and a model of the arm that grew."""
    shapes = LINK_SHAPES[part] if part < 8 else (HAND_SHAPE,)
    points = vertices(arm[0], BODIES[part])
    assert len(points) > 1000
    assert np.max(np.min([outside(points, shape) for shape in shapes], axis=0)) <= -MARGIN_M


def test_the_fingers_are_contained_at_every_opening(arm):
    model, data = arm
    for opening in (0.0, 0.02, 0.04):
        data.qpos[:7], data.qpos[7:9] = READY_RAD, opening
        mujoco.mj_kinematics(model, data)
        hand = data.body("hand")
        for name in ("left_finger", "right_finger"):
            finger = data.body(name)
            points = vertices(model, name) @ finger.xmat.reshape(3, 3).T + finger.xpos
            local = (points - hand.xpos) @ hand.xmat.reshape(3, 3)
            assert np.max(outside(local, FINGERS_SHAPE)) <= -MARGIN_M


def test_the_fingertips_distance_to_the_table_is_that_of_their_meshes(arm):
    """Catches tips that are too short, and an opening that is ignored."""
    model, data = arm
    table_z_m = 0.2
    ours = ArmModel(table_z_m)
    rng = np.random.default_rng(0)
    tips = {name: np.array([v for v in vertices(model, name) if v[2] > 0.036]) for name in ("left_finger", "right_finger")}
    seen = 0
    for _ in range(200):
        opening = rng.uniform(0.0, 0.08)
        q = np.array([0.0, 0.2, 0.0, -2.2, 0.0, 2.4, np.pi / 4]) + rng.uniform(-0.3, 0.3, 7)
        data.qpos[:7], data.qpos[7:9] = q, 0.5 * opening
        mujoco.mj_kinematics(model, data)
        theirs = min((points @ data.body(n).xmat.reshape(3, 3).T + data.body(n).xpos)[:, 2].min() for n, points in tips.items()) - table_z_m
        if abs(theirs) < 0.1:
            seen += 1
            assert theirs - 0.005 < ours.clearances(q, opening)[2].metres <= theirs + 1e-4
    assert seen > 50


def test_a_clearance_is_no_greater_than_that_of_the_meshes_hulls(arm):
    """Against MuJoCo's own distances between the links' meshes: ours must say less, in every pose. Catches a wrong frame or a missing pair."""
    model, data = arm
    ours = ArmModel(-1.0)
    rng = np.random.default_rng(0)
    geoms = {name: [g for g in range(model.ngeom) if model.geom_type[g] == 7 and model.body(model.geom_bodyid[g]).name == name] for name in BODIES}
    pairs = [(BODIES[a], BODIES[b]) for a, b in ((0, 4), (0, 5), (0, 6), (1, 5), (2, 5), (2, 6), (0, 8), (1, 8), (2, 8), (3, 8))]
    segment = np.zeros(6)
    near = 0
    for _ in range(40):
        q = rng.uniform(FR3.q_min_rad, FR3.q_max_rad)
        data.qpos[:7] = q
        mujoco.mj_kinematics(model, data)
        theirs = min(mujoco.mj_geomDistance(model, data, a, b, 0.15, segment) for first, second in pairs for a in geoms[first] for b in geoms[second])
        near += theirs < 0.1
        assert ours.clearances(q)[0].metres <= theirs + 1e-6
    assert near > 3


def test_the_table_is_seen_by_the_hand_and_not_by_the_fingers():
    low = np.array([0.0, 0.35, 0.0, -2.35, 0.0, 2.7, np.pi / 4])
    model = ArmModel(0.0)
    _, table, _ = model.clearances(low)
    assert table.between.startswith(("the hand", "link7", "link6"))
    assert ArmModel(-1.0).clearances(low)[1].metres == pytest.approx(0.15)
