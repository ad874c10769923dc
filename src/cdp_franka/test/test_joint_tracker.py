"""Where the bound near the joints' stops is not looked at, it holds."""

import numpy as np
import pytest

from cdp_franka.guard_config import GuardConfig
from cdp_franka.joint_tracker import JointTracker
from cdp_franka.stopping import stop_phases


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
