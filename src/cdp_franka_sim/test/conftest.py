import os

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

from cdp_franka_sim.operator_core import OperatorView, ScriptedOperator
from cdp_franka_sim.physics import FrankaSim
from cdp_franka_sim.tasks import make_task

ACTION_PERIOD_S = 0.1
COMMAND_PERIOD_S = 0.01
LINEAR_SCALE_M_S = 0.20
BOX_M = np.array([[0.25, -0.40, 0.012], [0.75, 0.40, 0.60]])
HAND_DOWN_XYZW = np.array([1.0, 0.0, 0.0, 0.0])


@pytest.fixture(scope="session")
def sim():
    """One model for all tests: each resets it first."""
    sim = FrankaSim(make_task("slide"))
    yield sim
    sim.close()


def _drive(sim, target_m, start_m):
    """One action: the equilibrium goes from `start_m` to `target_m` in 100 Hz steps, as the guard sends it."""
    steps = round(ACTION_PERIOD_S / COMMAND_PERIOD_S)
    for k in range(1, steps + 1):
        sim.set_equilibrium_pose(start_m + (target_m - start_m) * k / steps, HAND_DOWN_XYZW)
        sim.step(COMMAND_PERIOD_S)


def _operate(sim, seed, limit_s=15.0):
    """An episode by the scripted operator: (success, seconds, targets (T, 3))."""
    sim.reset(seed)
    operator, start_ns = ScriptedOperator(seed=seed), sim.time_ns
    target, targets = sim.state().eef_position_m, []
    while (time_s := (sim.time_ns - start_ns) / 1e9) < limit_s:
        state, task = sim.state(), sim.task_state()
        command = operator.command(OperatorView(time_s, state.eef_position_m, task.object_pose, task.goal_pose, task.success))
        if task.success:
            assert not command.deadman
            return True, time_s, np.array(targets)
        new = np.clip(target + LINEAR_SCALE_M_S * ACTION_PERIOD_S * command.twist[:3], *BOX_M)
        _drive(sim, new, target)
        target = new
        targets.append(new)
    return False, limit_s, np.array(targets)


@pytest.fixture
def drive():
    return _drive


@pytest.fixture
def operate():
    return _operate
