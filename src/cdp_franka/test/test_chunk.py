import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cdp.actions import eef_row
from cdp_franka.chunk import ChunkMotion, Pose, PoseMotion, at_rest
from cdp_franka.rotation import matrix_of, orthonormal, quat_of, small_turn, turn_between, turn_matrix, turns_along

S = 1_000_000_000


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 1e-3), st.floats(0, np.pi), st.integers(0, 99))
def test_turns_agree_with_scipy_up_to_half_a_turn(axis, angle, seed):
    start = Rotation.random(rng=seed)
    turn = Rotation.from_rotvec(np.array(axis) / np.linalg.norm(axis) * angle)
    found = turn_between(start.as_matrix(), (turn * start).as_matrix())
    assert np.linalg.norm(found) == pytest.approx(angle, abs=1e-6)
    assert (Rotation.from_rotvec(found) * turn.inv()).magnitude() < 1e-6
    assert small_turn(start.as_matrix(), (turn * start).as_matrix()) == pytest.approx(2 * np.sin(angle / 2), abs=1e-9)
    np.testing.assert_allclose(turn_matrix(turn.as_rotvec()), turn.as_matrix(), atol=1e-12)


@given(st.integers(0, 999), st.sampled_from([0, 1, 2, None]))
def test_quaternions_agree_with_scipy_whichever_component_is_largest(seed, half_turn):
    rotation = Rotation.random(rng=seed) if half_turn is None else Rotation.from_rotvec(np.eye(3)[half_turn] * (3.1 + 1e-4 * seed % 0.04))
    expected = rotation.as_quat()
    np.testing.assert_allclose(quat_of(rotation.as_matrix()), expected if expected[3] > 0 else -expected, atol=1e-12)


@given(st.integers(0, 999), st.floats(1e-3, 1e3))
def test_a_quaternion_of_any_length_is_its_rotation(seed, length):
    rotation = Rotation.random(rng=seed)
    np.testing.assert_allclose(matrix_of(length * rotation.as_quat()), rotation.as_matrix(), atol=1e-14)


def test_a_zero_quaternion_is_refused():
    with pytest.raises(ValueError, match="zero quaternion"):
        matrix_of(np.zeros(4))


@pytest.mark.parametrize("largest", [0.0, 1e-12, 0.5, 2.0, 3.1])
def test_turns_along_rows_are_those_between_each_two(largest):
    """At rest, tiny, usual, and so near half a turn that another formula is needed."""
    steps = Rotation.from_rotvec(largest * np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [0.0, -1.0, 0.0]]))
    rotations = np.cumprod([Rotation.identity(), *steps], axis=0)
    matrices = np.array([r.as_matrix() for r in rotations])
    expected = [turn_between(a, b) for a, b in itertools.pairwise(matrices)]
    np.testing.assert_allclose(turns_along(matrices), expected, atol=1e-9)
    assert turns_along(matrices[:1]).shape == (0, 3)


def test_drift_is_taken_out_of_a_rotation():
    rotation = Rotation.random(rng=5).as_matrix()
    mended = orthonormal(rotation + 1e-6 * np.random.default_rng(1).normal(size=(3, 3)))
    np.testing.assert_allclose(mended @ mended.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(mended) > 0
    np.testing.assert_allclose(mended, rotation, atol=1e-5)


def test_it_passes_the_rows_at_their_times_with_the_mean_of_the_neighbouring_velocities():
    """Catches a motion that stops at each row, and one whose pose and velocity are not of the same curve."""
    rotations = Rotation.from_rotvec([[0.0, 0.0, 0.0], [0.1, 0.0, 0.02], [0.2, 0.05, 0.0], [0.25, 0.1, 0.0]])
    positions = np.random.default_rng(0).normal(size=(4, 3))
    rows = eef_row(positions, rotations.as_quat(), np.array([0.01, 0.02, 0.03, 0.04]))
    motion = ChunkMotion(rows, 10 * S, 0.1, at_rest(Pose(np.zeros(3), np.eye(3))), 9 * S)
    for row in range(4):
        pose = motion.pose(10 * S + row * S // 10)
        np.testing.assert_allclose(pose.position_m, positions[row], atol=1e-9)
        np.testing.assert_allclose(pose.rotation, rotations[row].as_matrix(), atol=1e-9)
    np.testing.assert_allclose(motion.at(round(10.1 * S)).velocity, (positions[2] - positions[0]) / 0.2, atol=1e-9)
    h_ns = 10_000
    for t in (9.4, 10.03, 10.17, 10.25):
        now, before, after = (motion.at(round(t * S) + k) for k in (0, -h_ns, h_ns))
        np.testing.assert_allclose((after.pose.position_m - before.pose.position_m) / 2e-5, now.velocity, atol=1e-3)
        np.testing.assert_allclose((after.velocity - before.velocity) / 2e-5, now.acceleration, rtol=1e-3, atol=1e-2)
        turning = turn_between(before.pose.rotation, after.pose.rotation) / 2e-5
        np.testing.assert_allclose(turning, now.angular_velocity, atol=0.05)
    before_row, after_row = motion.at(round(10.1 * S) - 1), motion.at(round(10.1 * S) + 1)
    np.testing.assert_allclose(before_row.velocity, after_row.velocity, atol=1e-4)
    np.testing.assert_allclose(before_row.angular_velocity, after_row.angular_velocity, atol=1e-4)
    np.testing.assert_allclose(motion.pose(99 * S).position_m, positions[3])
    np.testing.assert_allclose(motion.pose(0).position_m, 0.0)


def test_a_straight_line_at_a_constant_speed_stays_one():
    positions = np.outer(np.arange(1, 5), [0.01, 0.0, 0.02])
    rows = eef_row(positions, np.tile([0.0, 0.0, 0.0, 1.0], (4, 1)), np.zeros(4))
    moving = PoseMotion(Pose(np.zeros(3), np.eye(3)), np.array([0.1, 0.0, 0.2]), *[np.zeros(3)] * 3)
    motion = ChunkMotion(rows, S // 10, 0.1, moving, 0)
    for t in np.linspace(0.0, 0.39, 14):
        found = motion.at(round(t * S))
        np.testing.assert_allclose(found.pose.position_m, t * np.array([0.1, 0.0, 0.2]), atol=1e-9)
        np.testing.assert_allclose(found.velocity, [0.1, 0.0, 0.2], atol=1e-9)


def test_a_single_row_is_reached_at_its_time_with_the_mean_velocity_and_kept():
    rows = eef_row(np.array([[0.02, 0.0, 0.0]]), np.array([[0.0, 0.0, 0.0, 1.0]]), np.array([0.03]))
    motion = ChunkMotion(rows, S, 0.1, at_rest(Pose(np.zeros(3), np.eye(3))), S - S // 10)
    np.testing.assert_allclose(motion.at(S - 1).velocity, [0.2, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(motion.pose(S).position_m, [0.02, 0.0, 0.0])
    np.testing.assert_allclose(motion.at(S).velocity, [0.2, 0.0, 0.0])
    np.testing.assert_array_equal(motion.at(2 * S).velocity, 0.0)


def test_rows_too_noisy_for_a_curve_are_joined_by_lines():
    """Catches a reference that swings between noisy rows harder than what follows it can."""
    positions = np.array([[0.0, 0.0, 0.0], [0.01, 0.002, 0.0], [0.02, -0.002, 0.0], [0.03, 0.002, 0.0]])
    rows = eef_row(positions, np.tile([0.0, 0.0, 0.0, 1.0], (4, 1)), np.zeros(4))
    motion = ChunkMotion(rows, S, 0.1, at_rest(Pose(np.zeros(3), np.eye(3))), S, (0.1, 1.0))
    middle = motion.at(round(1.15 * S))
    np.testing.assert_allclose(middle.pose.position_m, [0.015, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(middle.velocity, [0.1, -0.04, 0.0], atol=1e-9)
    np.testing.assert_array_equal(middle.acceleration, 0.0)


@pytest.mark.parametrize(("at_s", "width"), [(9.0, 0.01), (10.0, 0.01), (10.05, 0.02), (10.1, 0.02), (10.29, 0.04), (50.0, 0.04)])
def test_the_gripper_gets_the_width_of_the_row_headed_for(at_s, width):
    rows = eef_row(np.zeros((4, 3)), np.tile([0.0, 0, 0, 1], (4, 1)), np.array([0.01, 0.02, 0.03, 0.04]))
    motion = ChunkMotion(rows, 10 * S, 0.1, at_rest(Pose(np.zeros(3), np.eye(3))), 9 * S)
    assert motion.heading(round(at_s * S))[1] == width
