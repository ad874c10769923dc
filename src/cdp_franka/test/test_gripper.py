"""The gripper's decisions, without a hand: a hand is a width that the test moves."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdp_franka.gripper import Cancel, Goal, GripperConfig, GripperCore, Kind

MS = 1_000_000
FORCE_N = 30.0


class Hand:
    """Steps the core each 20 ms, and does what it is told in ``goal_ms`` unless told otherwise."""

    def __init__(self, width_m=0.06, goal_ms=300, **changes):
        self.core, self.now_ns, self.goal_ms = GripperCore(GripperConfig(**changes)), 1_000 * MS, goal_ms
        self.width_m = width_m
        self.core.on_width(width_m)
        self.goals, self.cancels, self.complaints = [], [], []
        self.ends_ns = None
        self.fails = self.cancelled = False

    def run(self, milliseconds, target_m=None):
        for _ in range(milliseconds // 20):
            self.now_ns += 20 * MS
            if target_m is not None:
                self.core.on_target(target_m, FORCE_N, self.now_ns)
            if self.ends_ns is not None and self.now_ns >= self.ends_ns:
                self.end()
            asked = self.core.step(self.now_ns)
            if isinstance(asked, Goal):
                assert self.ends_ns is None, "two goals at once"
                self.goals.append(asked)
                self.cancelled = False
                self.ends_ns = self.now_ns + self.goal_ms * MS
            elif asked is not None:
                self.cancels.append(asked)
                self.cancelled = True
                self.ends_ns = self.now_ns
        return self

    def end(self):
        goal, self.ends_ns = self.goals[-1], None
        if not self.fails and not self.cancelled:
            self.width_m = 0.08 if goal.kind is Kind.HOME else goal.width_m
            self.core.on_width(self.width_m)
        complaint = self.core.done(not self.fails, "blocked")
        if complaint is not None:
            self.complaints.append(complaint)


def test_closing_is_a_grasp_with_the_force_and_opening_a_move_by_the_whole_width():
    hand = Hand().run(1000, 0.02).run(1000, 0.05)
    assert hand.goals == [Goal(Kind.GRASP, 0.02, FORCE_N), Goal(Kind.MOVE, 0.05, FORCE_N)]


def test_closing_above_the_grasp_width_is_a_move():
    assert Hand(grasp_below_m=0.03).run(1000, 0.05).goals == [Goal(Kind.MOVE, 0.05, FORCE_N)]


def test_the_first_target_is_where_the_fingers_are_and_moves_nothing():
    assert Hand().run(1000, 0.0605).goals == []


def test_nothing_is_sent_before_the_width_is_known():
    core = GripperCore(GripperConfig())
    core.on_target(0.02, FORCE_N, 0)
    assert core.step(10_000 * MS) is None
    core.on_width(0.06)
    assert core.step(10_001 * MS) == Goal(Kind.GRASP, 0.02, FORCE_N)


def test_wide_open_stays_within_what_a_hand_accepts_and_the_force_within_its_limit():
    hand = Hand(max_force_n=40.0)
    hand.core.on_target(0.2, 500.0, hand.now_ns)
    assert hand.run(1000).goals == [Goal(Kind.MOVE, 0.079, 40.0)]


@given(st.lists(st.floats(-0.0019, 0.0019), min_size=1, max_size=60), st.floats(0.0, 0.04))
@settings(max_examples=60, deadline=None)
def test_noise_within_the_dead_band_does_not_chatter(noise, centre):
    """Catches a dead band around the target instead of around the last goal, and one that is missing."""
    hand = Hand()
    for change in noise:
        hand.run(100, max(0.0, centre + change))
    hand.run(2000, centre)
    assert len(hand.goals) == 1
    assert abs(hand.goals[0].width_m - centre) <= 0.004


@given(st.lists(st.tuples(st.floats(0.0, 0.08), st.integers(1, 40), st.booleans()), min_size=1, max_size=25))
@example([(0.03125, 6, False), (0.0, 15, False), (0.0625, 1, False), (0.0, 1, False)])  # back to a target whose goal was cancelled
@settings(max_examples=80, deadline=None)
def test_goals_never_overlap_and_the_last_target_is_reached(stream):
    hand = Hand()
    for target, steps, home in stream:
        if home:
            hand.core.home()
        hand.run(20 * steps, target)
    hand.run(3000, target)
    # 4 mm of the dead band, twice: the target that was taken, and the goal that was near enough to it.
    assert abs(hand.width_m - min(target, 0.079)) <= 0.0081


def test_a_ramp_becomes_a_goal_when_it_ends_and_not_at_every_step():
    hand = Hand()
    for k in range(10):
        hand.run(20, 0.06 - 0.006 * k)
    hand.run(1000, 0.0)
    assert len(hand.goals) == 1


def test_a_target_that_never_rests_is_followed_all_the_same():
    hand = Hand(settle_s=0.1)
    for k in range(100):
        hand.run(20, 0.02 if k % 2 else 0.03)
    assert hand.goals


def test_a_target_that_turns_back_cancels_the_goal_and_one_that_goes_on_does_not():
    hand = Hand(goal_ms=1000).run(200, 0.02)
    hand.run(200, 0.0)
    assert hand.cancels == []
    hand.run(40, 0.079)
    assert hand.cancels == [Cancel.TURNED_BACK]
    hand.cancels.clear()
    hand.run(2000, 0.079)
    assert [goal.width_m for goal in hand.goals] == [0.02, 0.079]
    assert hand.complaints == [], "a goal that was cancelled on purpose is no failure"


def test_a_goal_that_fails_is_said_once_and_tried_again_only_at_a_new_target():
    hand = Hand()
    hand.fails = True
    hand.run(5000, 0.02)
    assert len(hand.goals) == len(hand.complaints) == 1
    assert "blocked" in hand.complaints[0] and "/cdp/gripper/home" in hand.complaints[0]
    hand.fails = False
    hand.run(1000, 0.05).run(1000, 0.02)
    assert hand.width_m == 0.02


def test_homing_is_done_once_on_request_after_the_goal_under_way_and_the_target_is_taken_up_again():
    hand = Hand(goal_ms=1000).run(200, 0.02)
    hand.core.home()
    hand.run(5000, 0.02)
    assert [goal.kind for goal in hand.goals] == [Kind.GRASP, Kind.HOME, Kind.GRASP]


def test_a_stop_holds_until_a_new_target_comes():
    hand = Hand(goal_ms=1000).run(200, 0.02)
    hand.core.stop()
    hand.fails, hand.ends_ns = True, hand.now_ns
    hand.run(3000, 0.02)
    assert len(hand.goals) == 1
    assert hand.complaints == []
    hand.fails = False
    hand.run(3000, 0.05)
    assert hand.core.running is None
    hand.run(3000, 0.02)
    assert hand.width_m == 0.02


def test_a_goal_that_takes_too_long_is_cancelled_and_nothing_is_sent_until_it_has_ended():
    hand = Hand(goal_ms=10_000_000, goal_timeout_s=2.0)
    hand.run(1900, 0.02)
    hand.core.on_target(0.079, FORCE_N, hand.now_ns)
    core, now_ns = hand.core, hand.now_ns
    assert hand.goals and hand.ends_ns is not None
    asked = [core.step(now_ns + k * 100 * MS) for k in range(100)]
    assert [a for a in asked if a is not None] in ([Cancel.TURNED_BACK], [Cancel.TOO_LONG])


def test_a_goal_that_was_lost_with_the_hand_is_sent_again_when_the_hand_is_back():
    """Catches a width that is taken for reached because it was once asked for."""
    hand = Hand(goal_ms=1000).run(200, 0.02)
    hand.core.lost()
    hand.ends_ns = None
    hand.run(1000, 0.02)
    assert len(hand.goals) == 1, "the width is not known before the hand is back"
    hand.core.on_width(0.045)
    hand.run(3000, 0.02)
    assert hand.goals == [Goal(Kind.GRASP, 0.02, FORCE_N)] * 2
    assert hand.width_m == 0.02


def test_a_goal_that_was_stopped_is_not_sent_again_because_the_hand_was_lost():
    hand = Hand(goal_ms=1000).run(200, 0.02)
    hand.core.stop()
    hand.core.lost()
    hand.ends_ns = None
    hand.core.on_width(0.045)
    hand.run(3000, 0.02)
    assert len(hand.goals) == 1


@pytest.mark.parametrize("target", [(math.nan, 30.0), (0.05, math.nan), (-0.1, 30.0), (0.05, 0.0)])
def test_a_target_that_is_none_is_refused_and_the_one_before_is_kept(target):
    hand = Hand()
    hand.core.on_target(0.02, FORCE_N, hand.now_ns)
    assert "kept" in hand.core.on_target(*target, hand.now_ns)
    assert hand.run(1000).goals == [Goal(Kind.GRASP, 0.02, FORCE_N)]
