"""Operator and policy on one guard: who is followed, what is marked, and how large a step the commanded target makes at each switch."""

import numpy as np
import pytest

from cdp.actions import EEF_WIDTH, eef_row
from cdp.geometry import matrix_to_quat
from cdp_franka.guard import GuardCore
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import ActionData, Source, Space, State
from cdp_franka.kinematics import forward
from cdp_teleop_recorder.teleop_config import TeleopConfig
from cdp_teleop_recorder.teleop_core import TeleopCore

MS = 1_000_000
Q = np.array([0.0, -0.2, 0.0, -2.3, 0.0, 2.1, np.pi / 4])
POSITION, ROTATION = forward(Q)
QUAT = matrix_to_quat(ROTATION)
TICK_MS, STATUS_MS, PERIOD_MS = 10, 100, 100
# The guard's own limits: 0.25 m/s, and 1.5 m/s^2 more or less speed, within one tick of 10 ms.
STEP_M = 0.25 * 0.01 + 1e-9
CHANGE_M = 1.5 * 0.01**2 + 1e-9


class Bench:
    """Guard, teleoperation and a policy that moves along y; the arm follows perfectly; time in milliseconds."""

    def __init__(self, **settings):
        self.guard, self.teleop = GuardCore(GuardConfig()), TeleopCore(TeleopConfig(**settings))
        self.now_ms, self.sequence = 100_000, 0
        self.measured = (POSITION, QUAT)
        self.axes, self.deadman, self.takeover = np.zeros(6), False, False
        self.policy_speed_m_s = 0.0
        self.targets, self.states, self.actions = [], [], []
        self._said = None
        self._sense()
        assert self.guard.engage(self.now_ms * MS)[0]

    def _sense(self):
        now_ns = self.now_ms * MS
        self.guard.on_joints(now_ns, Q, np.zeros(7))
        self.guard.on_pose(now_ns, *self.measured)
        self.guard.on_gripper(now_ns, 0.06)
        self.teleop.on_measured_pose(now_ns, *self.measured)
        self.teleop.on_measured_width(0.06)

    def _send(self, source, rows, deadman, authority=False):
        self.sequence += 1
        now_ns = self.now_ms * MS
        action = ActionData(source, Space.EEF_POSE, "fr3_link0", self.sequence, now_ns, now_ns + 100 * MS, 0.1, rows, 0.1, deadman, authority)
        self.guard.on_action(action, now_ns)

    def run(self, milliseconds):
        for _ in range(milliseconds // TICK_MS):
            self.now_ms += TICK_MS
            self._sense()
            self.teleop.on_axes(self.now_ms * MS, self.axes)
            self.teleop.on_buttons(self.deadman, False, self.takeover)
            if self.now_ms % PERIOD_MS == 0:
                action = self.teleop.tick(self.now_ms * MS)
                self.actions.append(action)
                self._send(Source.OPERATOR, action.rows, action.deadman, action.authority)
            if self.now_ms % PERIOD_MS == 50 and self.policy_speed_m_s:
                # Eight rows from where the arm is seen to be, as a policy predicts them.
                steps = np.arange(1, 9)[:, None] * 0.1 * self.policy_speed_m_s * np.array([0.0, 1.0, 0.0])
                self._send(Source.POLICY, eef_row(self.measured[0] + steps, np.broadcast_to(QUAT, (8, 4)), np.full(8, 0.06)), True)
            out = self.guard.tick(self.now_ms * MS)
            self.targets.append(out.position_m)
            self.states.append(out.state)
            self.measured = (out.position_m, out.quat_xyzw)
            if out.state != self._said or self.now_ms % STATUS_MS == 0:
                self._said = out.state
                self.teleop.on_guard_target(self.now_ms * MS, out.position_m, out.quat_xyzw, 0.06, policy=out.state is State.POLICY)
        return self

    def assert_no_jump(self):
        steps = np.diff(np.array(self.targets), axis=0)
        largest = float(np.max(np.linalg.norm(steps, axis=1)))
        change = float(np.max(np.linalg.norm(np.diff(steps, axis=0), axis=1)))
        assert largest <= STEP_M, f"a step of {largest * 1e3:.3f} mm in 10 ms"
        assert change <= CHANGE_M, f"a change of speed of {change * 1e5:.2f} mm/s per ms"
        return largest, change


def test_the_operator_takes_over_from_a_moving_policy_and_gives_back_without_a_jump():
    bench = Bench()
    bench.policy_speed_m_s = 0.2
    bench.run(1000)
    assert bench.states[-1] is State.POLICY
    taken = len(bench.targets)
    bench.deadman = True
    bench.run(600)
    assert bench.states[-1] is State.OPERATOR
    # It brakes and stays where it comes to rest: what the policy began is not taken back.
    y = np.array(bench.targets)[taken:, 1]
    assert np.max(y) - y[-1] < 1e-3
    bench.axes = np.array([0, -1.0, 0, 0, 0, 0])
    bench.run(500)
    assert bench.targets[-1][1] < y[-1] - 0.05
    bench.axes[:] = 0
    bench.deadman = False
    bench.run(500)
    assert bench.states[-1] is State.POLICY
    bench.assert_no_jump()
    marks = [a.intervention for a in bench.actions]
    assert marks == [a.deadman for a in bench.actions], "every action of the takeover is marked, and nothing else"


def test_with_the_authority_taken_the_policy_stays_out_between_strokes_until_it_is_given_back():
    bench = Bench()
    bench.policy_speed_m_s = 0.1
    bench.run(500)
    bench.teleop.authority.request(True)
    bench.run(500)
    held = bench.targets[-1]
    assert bench.states[-1] is State.HOLDING
    for _ in range(2):
        bench.deadman, bench.axes = True, np.array([0, 0, 1.0, 0, 0, 0])
        bench.run(400)
        assert bench.states[-1] is State.OPERATOR
        bench.deadman, bench.axes = False, np.zeros(6)
        bench.run(400)
        assert bench.states[-1] is State.HOLDING, "the policy set in between two strokes"
    assert bench.targets[-1][2] > held[2] + 0.05
    bench.takeover = True
    bench.run(100)
    bench.takeover = False
    bench.run(300)
    assert bench.states[-1] is State.POLICY
    bench.assert_no_jump()
    assert [a.intervention for a in bench.actions if a.authority or a.deadman] == [True] * sum(a.authority or a.deadman for a in bench.actions)
    assert not bench.actions[-1].intervention


def test_a_plain_demonstration_is_no_intervention():
    bench = Bench()
    bench.deadman, bench.axes = True, np.array([1.0, 0, 0, 0, 0, 0])
    bench.run(500)
    assert bench.states[-1] is State.OPERATOR
    assert not any(a.intervention for a in bench.actions)
    bench.assert_no_jump()


def test_a_policy_that_ended_long_ago_makes_no_intervention():
    bench = Bench(takeover_window_s=1.0)
    bench.policy_speed_m_s = 0.1
    bench.run(300)
    bench.policy_speed_m_s = 0.0
    bench.run(3000)
    bench.deadman = True
    bench.run(300)
    assert bench.actions[-1].deadman and not bench.actions[-1].intervention


def test_a_device_lost_in_motion_stops_the_arm_keeps_the_policy_out_and_resumes_without_a_jump():
    bench = Bench()
    bench.policy_speed_m_s = 0.1
    bench.run(300)
    bench.deadman, bench.axes = True, np.array([1.0, 0, 0, 0, 0, 0])
    bench.run(800)
    assert bench.states[-1] is State.OPERATOR
    assert bench.teleop.on_device_lost()
    stop = bench.teleop.stop()
    assert (stop.deadman, stop.rows.shape) == (False, (0, EEF_WIDTH))
    bench._send(Source.OPERATOR, stop.rows, stop.deadman, stop.authority)
    lost = len(bench.targets)
    # The hand is still on the buttons when the device comes back: it must let go once.
    bench.run(800)
    assert State.POLICY not in bench.states[lost:], "the policy set in when the device was lost"
    y = np.array(bench.targets)[lost:]
    assert np.linalg.norm(y[-1] - y[0]) < 0.25**2 / (2 * 1.5) + 0.01, "it did not brake at once"
    np.testing.assert_allclose(y[-1], y[-20])
    bench.deadman = False
    bench.run(200)
    bench.deadman = True
    bench.run(400)
    assert bench.states[-1] is State.OPERATOR and bench.targets[-1][0] > y[-1][0] + 0.02
    assert bench.actions[-1].intervention and not bench.actions[-1].authority
    bench.deadman = False
    bench.run(300)
    assert bench.states[-1] is State.POLICY
    bench.assert_no_jump()


def test_an_arm_pushed_away_while_nothing_was_held_is_driven_from_where_it_is():
    core = TeleopCore(TeleopConfig())
    core.on_guard_target(1000 * MS, POSITION, QUAT, 0.05)
    core.on_measured_pose(1000 * MS, POSITION + np.array([0.0, 0.2, 0.0]), QUAT)
    core.on_buttons(True, False)
    np.testing.assert_allclose(core.tick(1000 * MS).rows[0, :3], POSITION + np.array([0.0, 0.2, 0.0]))


@pytest.mark.parametrize("mode", ["toggle", "hold"])
def test_what_the_gripper_holds_stays_held_when_the_deadman_is_pressed(mode):
    core = TeleopCore(TeleopConfig(gripper_mode=mode))
    core.on_measured_width(0.02)

    def tick(ms, deadman, gripper):
        core.on_measured_pose(ms * MS, POSITION, QUAT)
        core.on_buttons(deadman, gripper)
        rows = core.tick(ms * MS).rows
        return rows[0, 9] if len(rows) else None

    assert tick(1000, False, True) is None  # in vain
    assert tick(1050, False, False) is None
    assert tick(1100, True, False) == 0.02
    assert tick(1200, True, True) == (0.08 if mode == "toggle" else 0.0)
    assert tick(1300, True, False) == 0.08
    assert tick(1400, True, False) == 0.08
