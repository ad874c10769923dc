import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cdp.geometry import matrix_to_rotvec, rotvec_to_matrix
from cdp_franka import kinematics
from cdp_franka.limits import FR3


def random_configurations(count, seed):
    return np.random.default_rng(seed).uniform(FR3.q_min_rad, FR3.q_max_rad, (count, 7))


@pytest.fixture(scope="module")
def mujoco_arm(tmp_path_factory):
    """The FR3 with hand that a simulator of Franka's own protocol ships: an independent oracle."""
    mujoco = pytest.importorskip("mujoco")
    package = importlib.util.find_spec("franky_sim")
    if package is None:
        pytest.skip("franky-sim, the asset source, is not installed")
    assets = Path(package.submodule_search_locations[0]) / "assets"
    text = (assets / "fr3.xml").read_text().replace('meshdir="assets"', f'meshdir="{assets / "meshes"}"')
    spec = mujoco.MjSpec.from_string(text)
    spec.body("hand").add_site(name="tcp", pos=[0, 0, 0.1034])
    model = spec.compile()
    return mujoco, model, mujoco.MjData(model)


def test_forward_kinematics_agrees_with_the_mujoco_model(mujoco_arm):
    mujoco, model, data = mujoco_arm
    worst_m = worst_rad = 0.0
    for q in random_configurations(50, 1):
        data.qpos[:7] = q
        mujoco.mj_forward(model, data)
        position, rotation = kinematics.forward(q)
        worst_m = max(worst_m, np.linalg.norm(position - data.site("tcp").xpos))
        worst_rad = max(worst_rad, np.linalg.norm(matrix_to_rotvec(rotation.T @ data.site("tcp").xmat.reshape(3, 3))))
    assert worst_m < 1e-5
    assert worst_rad < 1e-5


def test_the_chain_in_plain_numbers_is_the_product_of_the_links_matrices():
    for q in random_configurations(50, 3):
        frame = np.eye(4)
        for link, angle in zip(kinematics.LINKS, q, strict=True):
            turn = np.eye(4)
            turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            frame = frame @ link @ turn
        frame = frame @ kinematics.HAND
        position, rotation = kinematics.forward(q)
        np.testing.assert_allclose(rotation, frame[:3, :3], atol=1e-14)
        np.testing.assert_allclose(position, frame[:3, 3] + 0.1034 * frame[:3, 2], atol=1e-14)
        together = kinematics.forward_and_jacobian(q)
        np.testing.assert_array_equal(together[0], position)
        np.testing.assert_array_equal(together[1], rotation)


def test_ready_pose_in_closed_form():
    # The arm is planar: upper arm leaning back by 45 degrees, forearm level, hand straight down.
    c = np.sqrt(0.5)
    position, rotation = kinematics.forward(kinematics.READY_RAD)
    x = -0.316 * c + 0.0825 * c + 0.384 + 0.088
    z = 0.333 + 0.316 * c + 0.0825 * c + 0.0825 - 0.107 - 0.1034
    np.testing.assert_allclose(position, [x, 0.0, z], atol=1e-12)
    np.testing.assert_allclose(rotation, np.diag([1.0, -1.0, -1.0]), atol=1e-12)


def test_jacobian_is_the_derivative_of_the_forward_kinematics():
    step = 1e-6
    for q in random_configurations(10, 2):
        numeric = np.empty((6, 7))
        for i in range(7):
            ahead, behind = q.copy(), q.copy()
            ahead[i] += step
            behind[i] -= step
            numeric[:, i] = kinematics.pose_error(*kinematics.forward(behind), *kinematics.forward(ahead)) / (2 * step)
        np.testing.assert_allclose(kinematics.jacobian(q), numeric, atol=1e-6)


def test_differential_kinematics_reaches_a_pose_and_keeps_the_posture():
    q = np.array(kinematics.READY_RAD)
    position, rotation = kinematics.forward(q)
    goal, goal_rotation = position + np.array([0.15, -0.1, -0.1]), rotation @ rotvec_to_matrix([0.1, -0.2, 0.3])
    for _ in range(400):
        error = kinematics.pose_error(*kinematics.forward(q), goal, goal_rotation)
        q = q + 0.01 * kinematics.joint_velocity(q, 5.0 * error, 0.05, kinematics.READY_RAD, 0.5)
    error = kinematics.pose_error(*kinematics.forward(q), goal, goal_rotation)
    assert np.linalg.norm(error) < 1e-4
    assert FR3.position_violation(q, 0.0) is None


def test_the_posture_does_not_move_the_end_effector():
    q = np.array([0.8, -0.4, -0.7, -2.0, 0.6, 1.8, 0.5])
    dq = kinematics.joint_velocity(q, np.zeros(6), 0.05, kinematics.READY_RAD, 1.0)
    assert np.linalg.norm(dq) > 0.2
    np.testing.assert_allclose(kinematics.jacobian(q) @ dq, 0.0, atol=1e-9)


def test_damping_bounds_the_joint_velocity_at_a_singularity():
    stretched = np.array([0.0, 0.0, 0.0, -1e-6, 0.0, 1e-6, 0.0])
    dq = kinematics.joint_velocity(stretched, [0, 0, 0.25, 0, 0, 0], 0.05, stretched, 0.0)
    assert np.linalg.norm(dq) <= 0.25 / (2 * 0.05) + 1e-9


def test_a_wrong_number_of_joints_is_refused():
    with pytest.raises(ValueError, match="7 joint angles"):
        kinematics.forward(np.zeros(6))
