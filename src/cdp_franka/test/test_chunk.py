import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from cdp.actions import eef_row
from cdp_franka.chunk import ChunkMotion, Pose
from cdp_franka.rotation import orthonormal, turn_between, turn_matrix

S = 1_000_000_000


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 1e-3), st.floats(0, np.pi), st.integers(0, 99))
def test_turns_agree_with_scipy_up_to_half_a_turn(axis, angle, seed):
    start = Rotation.random(rng=seed)
    turn = Rotation.from_rotvec(np.array(axis) / np.linalg.norm(axis) * angle)
    found = turn_between(start.as_matrix(), (turn * start).as_matrix())
    assert np.linalg.norm(found) == pytest.approx(angle, abs=1e-6)
    assert (Rotation.from_rotvec(found) * turn.inv()).magnitude() < 1e-6
    np.testing.assert_allclose(turn_matrix(turn.as_rotvec()), turn.as_matrix(), atol=1e-12)


def test_drift_is_taken_out_of_a_rotation():
    rotation = Rotation.random(rng=5).as_matrix()
    mended = orthonormal(rotation + 1e-6 * np.random.default_rng(1).normal(size=(3, 3)))
    np.testing.assert_allclose(mended @ mended.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(mended) > 0
    np.testing.assert_allclose(mended, rotation, atol=1e-5)


def test_between_rows_it_is_a_line_and_a_slerp():
    rotations = Rotation.random(4, rng=3)
    positions = np.random.default_rng(0).normal(size=(4, 3))
    rows = eef_row(positions, rotations.as_quat(), np.array([0.01, 0.02, 0.03, 0.04]))
    anchor = Pose(np.zeros(3), np.eye(3))
    motion = ChunkMotion(rows, 10 * S, 0.1, anchor, 9 * S)
    times = 10 + np.array([0.0, 0.03, 0.1, 0.17, 0.25, 0.3])
    oracle = Slerp(10 + 0.1 * np.arange(4), rotations)(times).as_matrix()
    for t, rotation in zip(times, oracle, strict=True):
        pose = motion.pose(round(t * S))
        np.testing.assert_allclose(pose.rotation, rotation, atol=1e-7)
        np.testing.assert_allclose(pose.position_m, [np.interp(t, 10 + 0.1 * np.arange(4), positions[:, i]) for i in range(3)], atol=1e-7)
    half = motion.pose(round(9.5 * S))
    np.testing.assert_allclose(half.position_m, 0.5 * positions[0], atol=1e-9)
    assert (Rotation.from_matrix(half.rotation).magnitude()) == pytest.approx(0.5 * rotations[0].magnitude())
    np.testing.assert_allclose(motion.pose(99 * S).position_m, positions[3])
    np.testing.assert_allclose(motion.pose(0).position_m, 0.0)


@pytest.mark.parametrize(("at_s", "width"), [(9.0, 0.01), (10.0, 0.01), (10.05, 0.02), (10.1, 0.02), (10.29, 0.04), (50.0, 0.04)])
def test_the_gripper_gets_the_width_of_the_row_headed_for(at_s, width):
    rows = eef_row(np.zeros((4, 3)), np.tile([0.0, 0, 0, 1], (4, 1)), np.array([0.01, 0.02, 0.03, 0.04]))
    motion = ChunkMotion(rows, 10 * S, 0.1, Pose(np.zeros(3), np.eye(3)), 9 * S)
    assert motion.heading(round(at_s * S))[1] == width
