"""The lowest height that guard and teleoperation allow by default, against the fingers' own shape."""

import numpy as np
import pytest

from cdp_franka.guard_config import GuardConfig

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
FINGERS = {"left_finger", "right_finger"}


def _presses(sim, height_m):
    """Whether a finger touches the table once the hand was sent to this height of fr3_hand_tcp."""
    sim.reset(0)
    here = sim.state().eef_position_m
    for k in range(1, 201):
        sim.set_equilibrium_pose(np.array([here[0], here[1], here[2] + (height_m - here[2]) * k / 200]), DOWN)
        sim.step(0.01)
    sim.step(1.0)
    table = sim.model.geom("table").id
    names = [{sim.model.body(sim.model.geom_bodyid[g]).name for g in pair} for pair in sim.data.contact.geom if table in pair]
    return any(pair & FINGERS for pair in names)


@pytest.mark.parametrize(("below_m", "presses"), [(0.0, False), (0.007, True)], ids=["lowest height", "7 mm below it"])
def test_the_guards_lowest_height_keeps_the_fingertips_off_the_table(sim, below_m, presses):
    """Catches a bound that forgets how far the fingers reach beyond the TCP: the arm would be pressed onto the table, and a reflex stop it."""
    assert _presses(sim, GuardConfig().box.low_m[2] - below_m) is presses
