"""Which targets reach the loop, and with which velocity."""

import numpy as np
import pytest
from driver_arm import READY

from cdp.geometry import rotvec_to_matrix
from cdp_franka.rotation import quat_of
from cdp_franka_driver import layout
from cdp_franka_driver.targets import RefusedError, TargetConfig, Targets

MS = 1_000_000
NOW = 10_000 * MS
STILL = np.zeros(7)
HERE, LEVEL = np.array([0.5, 0.0, 0.3]), np.array([0.0, 1.0, 0.0, 0.0])


@pytest.fixture
def targets():
    made = Targets(TargetConfig(), 0.02)
    made.begin(READY, HERE, LEVEL)
    return made


def wxyz(rotation):
    x, y, z, w = quat_of(rotation)
    return np.array([w, x, y, z])


def test_a_target_is_due_at_its_stamp_and_the_delay_however_long_it_was_on_its_way(targets):
    for age_ms, expected_s in ((0, 0.02), (5, 0.015), (50, 0.004), (-30, 0.04)):
        row = targets.joints(READY, STILL, STILL, NOW - age_ms * MS, NOW)
        assert row[layout.DURATION] == pytest.approx(expected_s)
    assert np.array_equal(row[layout.Q : layout.DQ], READY)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((READY + np.nan, STILL, STILL), "finite"),
        ((READY[:6], STILL, STILL), "seven"),
        ((READY, STILL + np.inf, STILL), "finite"),
        ((READY + 0.2, STILL, STILL), "from the arm"),
        ((READY + np.array([0, 0, 0, 2.4, 0, 0, 0]), STILL, STILL), "fr3_joint4"),
    ],
)
def test_a_first_joint_target_that_is_wrong_or_far_is_refused_and_the_next_good_one_is_not(targets, values, words):
    with pytest.raises(RefusedError, match=words):
        targets.joints(*values, NOW, NOW)
    targets.joints(READY + 0.01, STILL, STILL, NOW, NOW)


def test_a_jump_within_the_stream_is_refused(targets):
    for k in range(10):
        targets.joints(READY + 0.05 * k, STILL, STILL, NOW, NOW)
    with pytest.raises(RefusedError, match="from the target before"):
        targets.joints(READY, STILL, STILL, NOW, NOW)


@pytest.mark.parametrize("age_ms", [150, -150])
def test_a_stamp_that_is_not_of_now_is_refused(targets, age_ms):
    with pytest.raises(RefusedError, match="stamp"):
        targets.joints(READY, STILL, STILL, NOW - age_ms * MS, NOW)


def test_a_pose_moves_as_its_stamps_say(targets):
    """Half the angle, or a turn in the hand's frame, fails here."""
    rate = np.array([0.3, -0.2, 0.5])
    for k in range(5):
        now = NOW + 10 * k * MS
        rotation = rotvec_to_matrix(rate * 0.01 * k) @ np.diag([1.0, -1.0, -1.0])
        row = targets.pose(HERE + 0.001 * k, wxyz(rotation), now, now)
    np.testing.assert_allclose(row[layout.LINEAR : layout.ANGULAR], np.full(3, 0.1), rtol=1e-6)
    np.testing.assert_allclose(row[layout.ANGULAR :], rate, rtol=1e-3)


@pytest.mark.parametrize(
    ("position", "quat", "words"),
    [
        (HERE + np.nan, LEVEL, "finite"),
        (HERE, 2.0 * LEVEL, "unit"),
        (HERE + 0.05, LEVEL, "m from the arm"),
        (HERE, wxyz(rotvec_to_matrix(np.array([0.0, 0.0, 0.3])) @ np.diag([1.0, -1.0, -1.0])), "rad from the arm"),
    ],
)
def test_a_pose_that_is_wrong_or_far_is_refused(targets, position, quat, words):
    with pytest.raises(RefusedError, match=words):
        targets.pose(position, quat, NOW, NOW)
