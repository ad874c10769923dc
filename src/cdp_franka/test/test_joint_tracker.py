"""Where the bound near the joints' stops is not looked at, it holds."""

import numpy as np
import pytest

from cdp_franka.guard_config import GuardConfig
from cdp_franka.joint_tracker import JointTracker
from cdp_franka.stopping import along, stop_phases


@pytest.mark.parametrize("robot", ["fr3", "panda"])
@pytest.mark.parametrize("settings", [{}, {"joint_speed_share": 1.0, "joint_acceleration_share": 0.2, "joint_jerk_share": 0.01}])
def test_the_bound_near_the_stops_holds_wherever_it_is_not_looked_at(robot, settings):
    """Catches a range that is too wide, and one that spares nothing: the middle of most joints is far from both stops."""
    config = GuardConfig(robot=robot, **settings)
    tracker, rng = JointTracker(config, config.posture_rad), np.random.default_rng(0)
    ranges, tracker._free = tracker._free, [(np.inf, -np.inf)] * 7
    looked_at = 0
    for joint, (low, high) in enumerate(ranges):
        speed, acceleration, jerk = (bound[joint] for bound in tracker._axes)
        for q in np.concatenate([rng.uniform(low, high, 100), [low, high]]) if low < high else []:
            v, a = rng.uniform(-speed, speed), rng.uniform(-acceleration, acceleration)
            if abs(v + a * abs(a) / (2.0 * jerk)) > speed:
                continue
            looked_at += 1
            assert tracker._slow_enough(joint, (q, v, a), stop_phases(v, a, acceleration, jerk))
    assert looked_at > 50 or settings
    assert settings or sum(low < high for low, high in ranges) >= 4


@pytest.mark.parametrize("robot", ["fr3", "panda"])
def test_a_stop_that_is_let_through_keeps_the_bound_at_every_instant(robot):
    """Catches a check at points of the stop alone: a joint that comes near its stop between two of them was 7 % too fast there."""
    config = GuardConfig(robot=robot)
    tracker, rng = JointTracker(config, config.posture_rad), np.random.default_rng(1)
    tracker._free = [(np.inf, -np.inf)] * 7
    low, high = (np.array(side) for side in zip(*tracker._range, strict=True))
    accepted = 0
    for trial in range(2000):
        joint = trial % 7
        speed, acceleration, jerk = (bound[joint] for bound in tracker._axes)
        near = rng.uniform(0.0, 0.3)
        q = low[joint] + near if rng.random() < 0.5 else high[joint] - near
        v, a = rng.uniform(-1.0, 1.0) ** 3 * speed, rng.uniform(-acceleration, acceleration)
        phases = stop_phases(v, a, acceleration, jerk)
        if not tracker._slow_enough(joint, (q, v, a), phases):
            continue
        accepted += 1
        seconds = sum(duration for duration, _ in phases)
        stop = np.array([along((q, v, a), phases, t) for t in np.linspace(0.0, seconds, 200)])
        angles = np.tile(config.posture_rad, (len(stop), 1))
        angles[:, joint] = stop[:, 0]
        slowest, fastest = (bound[:, joint] for bound in config.limits.velocity_bounds_rad_s(angles))
        inside = (stop[:, 0] > config.limits.q_min_rad[joint]) & (stop[:, 0] < config.limits.q_max_rad[joint])
        assert np.all((stop[:, 1] >= slowest - 1e-12) & (stop[:, 1] <= fastest + 1e-12) | ~inside), (joint, q, v, a)
    assert accepted > 250
