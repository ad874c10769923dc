"""Interventions and holds as a run counts them, from a guard and a teleoperation that switch in the loop."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")

from cdp_msgs.msg import GuardStatus
from test_takeover import Bench

from cdp_policy_node.run_policy import OPERATORS
from cdp_policy_node.run_watch import Guard, Reason, RunWatch


class Counted(Bench):
    """The bench, watched as a run of the policy watches the guard's status."""

    def __init__(self, end_on_takeover: bool = False):
        super().__init__()
        self.policy_speed_m_s = 0.2
        self.watch = RunWatch(0, timeout_s=0.0, lost_s=1.0, end_on_takeover=end_on_takeover)
        tick = self.guard.tick

        def watched(now_ns):
            out = tick(now_ns)
            operator = getattr(GuardStatus, f"REASON_{out.reason.name}") in OPERATORS
            self.watch.on_guard(now_ns, Guard[out.state.name], out.message, operator)
            return out

        self.guard.tick = watched

    def stroke(self):
        self.deadman = True
        self.run(600)
        self.axes = np.array([0, -1.0, 0, 0, 0, 0])
        self.run(500)
        self.axes, self.deadman = np.zeros(6), False
        return self.run(500)

    @property
    def counts(self):
        return self.watch.interventions, self.watch.guard_holds


def test_each_takeover_by_the_deadman_is_one_intervention_and_no_hold():
    bench = Counted()
    bench.run(1000).stroke().stroke()
    assert bench.states[-1].name == "POLICY" and bench.counts == (2, 0)


def test_strokes_with_the_authority_kept_are_one_intervention_and_no_hold():
    bench = Counted()
    bench.run(1000)
    bench.teleop.authority.request(True)
    bench.run(300).stroke().stroke()
    bench.teleop.authority.request(False)
    bench.run(500)
    assert bench.states[-1].name == "POLICY" and bench.counts == (1, 0)


def test_a_policy_that_falls_silent_is_a_hold_and_no_intervention():
    bench = Counted()
    bench.run(1000)
    bench.policy_speed_m_s = 0.0
    bench.run(2000)
    bench.policy_speed_m_s = 0.2
    bench.run(500)
    assert bench.states[-1].name == "POLICY" and bench.counts == (0, 1)


def test_the_first_stroke_ends_a_run_that_shall_end_by_it():
    bench = Counted(end_on_takeover=True)
    bench.run(1000).stroke()
    end = bench.watch.check(0, 0, None, "")
    assert end is not None and end.reason is Reason.OPERATOR_TOOK_OVER
