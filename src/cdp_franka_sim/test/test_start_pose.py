"""What a person is told to put where is what the simulator would put there."""

import numpy as np
import pytest

from cdp.config import ConfigError
from cdp_franka_sim.start_pose import DrawnStarts


def test_a_seeds_start_is_described_as_the_simulator_sets_it(sim):
    starts = DrawnStarts("slide")
    try:
        text, picture = starts.describe(100_003)
        sim.reset(100_003)
        pose, hand = sim.task_state().object_pose, sim.state().eef_position_m
        np.testing.assert_allclose(starts.hand_m(100_003), hand, atol=1e-6)
        yaw_deg = np.degrees(2 * np.arctan2(pose[5], pose[6]))
        assert f"object at x {pose[0]:.3f} m, y {pose[1]:+.3f} m, turned by {yaw_deg:+.0f} deg" in text and f"z {hand[2]:.3f} m" in text
        np.testing.assert_array_equal(picture, sim.render())
        assert starts.describe(100_004)[0] != text and starts.describe(100_003)[0] == text
    finally:
        starts.close()


def test_a_task_that_is_not_simulated_is_refused():
    with pytest.raises(ConfigError, match="lift"):
        DrawnStarts("lift")
