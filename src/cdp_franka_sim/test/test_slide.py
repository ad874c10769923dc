import numpy as np
import pytest

from cdp.config import ConfigError
from cdp_franka_sim.tasks import make_task
from cdp_franka_sim.tasks.slide import BLOCK_X_M, BLOCK_Y_M, GOAL_M, ZONE_RADIUS_M


def _put_block(sim, x, y, velocity=(0.0, 0.0)):
    joint = sim.data.joint("block")
    joint.qpos = [x, y, 0.025, 1.0, 0.0, 0.0, 0.0]
    joint.qvel = [*velocity, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(("offset_m", "expected"), [(0.0, True), (0.9 * ZONE_RADIUS_M, True), (1.1 * ZONE_RADIUS_M, False)])
def test_success_is_half_a_second_of_rest_in_the_zone(sim, offset_m, expected):
    sim.reset(0)
    _put_block(sim, GOAL_M[0] - offset_m, GOAL_M[1])
    sim.step(0.4)
    assert not sim.task_state().success
    sim.step(0.3)
    assert sim.task_state().success is expected
    assert sim.task_state().distance_m == pytest.approx(offset_m, abs=2e-3)


def test_a_block_that_slides_through_the_zone_is_no_success(sim):
    sim.reset(0)
    _put_block(sim, GOAL_M[0] - 0.03, 0.0, velocity=(0.9, 0.0))
    seen_inside = False
    for _ in range(100):
        sim.step(0.01)
        seen_inside |= sim.task_state().distance_m < ZONE_RADIUS_M
        assert not sim.task_state().success
    assert seen_inside
    assert sim.task_state().distance_m > ZONE_RADIUS_M


def test_starts_are_spread_over_their_range_and_none_is_solved(sim):
    starts = []
    for seed in range(40):
        sim.reset(seed)
        task = sim.task_state()
        assert not task.success and task.distance_m > 2 * ZONE_RADIUS_M
        starts.append(task.object_pose[:2])
    low, high = np.min(starts, axis=0), np.max(starts, axis=0)
    for k, limits in enumerate((BLOCK_X_M, BLOCK_Y_M)):
        assert limits[0] <= low[k] and high[k] <= limits[1]
        assert high[k] - low[k] > 0.8 * (limits[1] - limits[0])


def test_the_scripted_operator_succeeds_and_its_motion_alone_does_not_carry_over(sim, drive, operate):
    done, duration_s, targets = operate(sim, 0)
    assert done and 3.0 < duration_s < 12.0
    outcomes = []
    for seed in (101, 103, 104, 106, 107):
        sim.reset(seed)
        previous = sim.state().eef_position_m
        for target in targets:
            drive(sim, target, previous)
            previous = target
        sim.step(1.0)
        outcomes.append(sim.task_state().success)
    assert np.mean(outcomes) < 0.5


@pytest.mark.parametrize("seed", [10, 31, 56])
def test_the_scripted_operator_succeeds_from_difficult_starts(sim, operate, seed):
    assert operate(sim, seed)[0]


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'stack' is not one of slide"):
        make_task("stack")
