import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_franka.limits import FR3, PANDA, WorkspaceBox


def test_fr3_joint_1_velocity_bound_is_the_published_formula():
    for q1 in np.linspace(-2.74, 2.74, 41):
        q = np.array([q1, 0, 0, -1.5, 0, 2.0, 0])
        lower, upper = FR3.velocity_bounds_rad_s(q)
        assert upper[0] == pytest.approx(min(2.62, max(0, -0.30 + np.sqrt(max(0, 12 * (2.7501 - q1))))))
        assert lower[0] == pytest.approx(max(-2.62, min(0, 0.30 - np.sqrt(max(0, 12 * (2.7501 + q1))))))


@pytest.mark.parametrize("limits", [FR3, PANDA])
def test_velocity_is_full_in_the_middle_and_zero_at_the_stops(limits):
    lower, upper = limits.velocity_bounds_rad_s(0.5 * (limits.q_min_rad + limits.q_max_rad))
    np.testing.assert_allclose(-lower, upper)
    assert np.all(upper >= 0.8 * limits.dq_max_rad_s)
    # The published position limits are where the published bounds vanish, to the digits printed.
    assert np.all(limits.velocity_bounds_rad_s(limits.q_max_rad)[1] <= 0.011)
    assert np.all(limits.velocity_bounds_rad_s(limits.q_min_rad)[0] >= -0.011)
    assert np.all(limits.velocity_bounds_rad_s(limits.q_max_rad)[0] < 0)


def test_a_joint_beyond_its_limit_is_named():
    q = np.array([0, 0, 0, -1.5, 0, 2.0, 0.0])
    assert FR3.position_violation(q, 0.02) is None
    q[3] = -0.16
    assert FR3.position_violation(q, 0.0) is None
    assert "fr3_joint4" in FR3.position_violation(q, 0.02)


@given(st.floats(-0.2, 0.2))
def test_a_table_at_zero_is_as_solid_as_any_other(z):
    box = WorkspaceBox((0.2, 0.8), (-0.4, 0.4), (-0.5, 0.6), table_z_m=0.0)
    assert (box.violation([0.5, 0.0, z]) is not None) == (z < 0.0)


def test_the_violated_axis_is_named():
    box = WorkspaceBox((0.2, 0.8), (-0.4, 0.4), (0.0, 0.6), 0.0)
    assert box.violation([0.5, 0.45, 0.2]).startswith("y = 0.4500 m is 0.0500 m outside")
    assert box.violation([0.5, 0.405, 0.2], tolerance_m=0.01) is None
    with pytest.raises(ValueError, match="workspace x"):
        WorkspaceBox((0.8, 0.2), (-0.4, 0.4), (0.0, 0.6), 0.0)
