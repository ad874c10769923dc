import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_franka_sim.operator_core import OperatorConfig, OperatorView, ScriptedOperator, push_slope

GOAL = np.array([0.68, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])


def _view(eef, block=(0.48, 0.05), time_s=0.0, success=False):
    return OperatorView(time_s, np.array(eef, dtype=float), np.array([*block, 0.025, 0.0, 0.0, 0.0, 1.0]), GOAL, success)


def _x(low, high):
    return st.floats(low, high)


@given(_x(0.25, 0.75), _x(-0.4, 0.4), _x(0.0, 0.6), _x(0.4, 0.75), _x(-0.3, 0.3), st.integers(0, 2**31))
def test_deflections_stay_on_the_device(x, y, z, block_x, block_y, seed):
    operator = ScriptedOperator(seed=seed)
    for k in range(3):
        twist = operator.command(_view((x, y, z), (block_x, block_y), 0.1 * k)).twist
        assert twist.shape == (6,) and np.all(np.abs(twist) <= 1.0) and np.all(twist[3:] == 0.0)


@given(_x(0.25, 0.42), _x(-0.2, 0.2), _x(0.03, 0.3))
def test_far_from_the_block_it_heads_for_the_staging_point(x, y, z):
    operator = ScriptedOperator(OperatorConfig(noise=0.0))
    view = _view((x, y, z))
    stage = view.object_pose[:2] - np.array([operator.config.standoff_m, 0.0])
    velocity = operator.velocity(view)
    assert np.linalg.norm(velocity) <= operator.config.move_speed_m_s + 1e-9
    if np.linalg.norm(stage - view.eef_position_m[:2]) > 0.08:
        assert velocity[:2] @ (stage - view.eef_position_m[:2]) > 0.0


def test_behind_the_block_it_pushes_towards_the_goal_and_steers():
    operator = ScriptedOperator(OperatorConfig(noise=0.0))
    for side in (-1.0, 1.0):
        block = np.array([0.5, side * 0.05])
        slope = push_slope(GOAL[:2] - block)
        velocity = operator.velocity(_view([block[0] - 0.045, block[1] - 0.04 * slope, 0.025], block))
        assert velocity[0] > 0.05
        assert velocity[1] * side < 0.0


def test_it_rests_when_the_block_is_at_the_goal_and_lets_go_on_success():
    operator = ScriptedOperator()
    assert np.all(operator.velocity(_view((0.635, 0.0, 0.025), (0.678, 0.001)))[:2] == 0.0)
    command = operator.command(_view((0.635, 0.0, 0.025), (0.678, 0.001), success=True))
    assert not command.deadman and np.all(command.twist == 0.0)


def test_a_seed_is_one_person_on_one_day():
    views = [_view((0.35, 0.0, 0.1), time_s=0.033 * k) for k in range(20)]

    def play(seed):
        operator = ScriptedOperator(seed=seed)
        return np.array([operator.command(v).twist for v in views])

    np.testing.assert_array_equal(play(3), play(3))
    assert np.abs(play(3) - play(4)).max() > 1e-3
    # Mild: what the noise adds is a small share of the deflection, and smooth.
    still = ScriptedOperator(OperatorConfig(noise=0.0, pace_spread=0.0), seed=3)
    quiet = np.array([still.command(v).twist for v in views])
    assert np.abs(play(3) - quiet).max() < 0.3
    assert np.abs(np.diff(play(3), axis=0)).max() < 0.35


def test_it_starts_at_once():
    operator = ScriptedOperator()
    operator.command(_view((0.35, 0.0, 0.1)))
    assert np.linalg.norm(operator.command(_view((0.35, 0.0, 0.1), time_s=0.1)).twist) > 0.2


@pytest.mark.parametrize("missed", [(0.45, 0.12), (0.56, 0.05)])
def test_a_block_that_was_lost_is_taken_up_again_from_above(missed):
    operator = ScriptedOperator(OperatorConfig(noise=0.0))
    assert operator.velocity(_view([*missed, 0.025]))[2] > 0.0
