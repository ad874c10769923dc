import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cdp import actions, geometry

unit = st.floats(-1, 1, allow_nan=False)
quats = st.tuples(unit, unit, unit, unit).filter(lambda q: np.linalg.norm(q) > 1e-2)


@given(quats)
def test_rotations_agree_with_scipy(q):
    r = Rotation.from_quat(q)
    m = geometry.quat_to_matrix(q)
    np.testing.assert_allclose(m, r.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(geometry.quat_to_matrix(geometry.matrix_to_quat(m)), m, atol=1e-9)
    np.testing.assert_allclose(geometry.rotvec_to_matrix(geometry.matrix_to_rotvec(m)), m, atol=1e-7)
    np.testing.assert_allclose(geometry.rot6d_to_matrix(geometry.matrix_to_rot6d(m)), m, atol=1e-9)
    np.testing.assert_allclose(geometry.rotvec_to_matrix(r.as_rotvec()), m, atol=1e-9)


def test_batches_keep_their_shape():
    q = Rotation.random(6, rng=0).as_quat().reshape(2, 3, 4)
    assert geometry.quat_to_matrix(q).shape == (2, 3, 3, 3)
    assert geometry.matrix_to_rot6d(geometry.quat_to_matrix(q)).shape == (2, 3, 6)
    assert actions.eef_row(np.zeros((2, 3, 3)), q, np.zeros((2, 3))).shape == (2, 3, 10)


@pytest.mark.parametrize("bad", [np.zeros(6), [1, 0, 0, 2, 0, 0]])
def test_a_degenerate_rotation_is_refused(bad):
    with pytest.raises(ValueError, match="no rotation"):
        geometry.rot6d_to_matrix(bad)


@given(st.floats(0, 0.08))
def test_gripper_width_round_trip(width):
    assert actions.gripper_to_width_m(actions.width_m_to_gripper(width)) == pytest.approx(width, abs=1e-12)
    assert actions.gripper_to_width_m(-1.0) == 0.08
    assert actions.gripper_to_width_m(1.0) == 0.0
