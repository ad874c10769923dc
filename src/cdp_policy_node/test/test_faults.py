"""Faults injected on purpose into real nodes over real DDS: each holds or hands over within its stated time, says why, and recovers as documented.

Times run by the nodes' own stamps, from the last sign of life that the guard could have had. On top of what is stated comes the guard's slowest tick
of the same moment: how long the machine kept it from running is not the guard's doing.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import numpy as np
import pytest
from cdp_msgs.msg import GuardStatus, PolicyStatus
from fault_stack import FaultStack, Hold

from cdp_franka.guard_config import GuardConfig

G = GuardStatus
CONFIG = GuardConfig()
# The policy promises the next answer within half a camera period.
PROMISE_S = 0.5 / 30.0
SOURCE_S = PROMISE_S + CONFIG.source_margin_s
STATE_S = CONFIG.state_timeout_s
TICK_S = 0.01


def check(hold: Hold, holds: list[Hold], *reasons: int) -> None:
    holds.append(hold)
    assert hold.reason in reasons, hold
    assert hold.message
    # The tick that finds it out comes at most one tick late, which late_s is at least.
    assert hold.after_s <= hold.stated_s + hold.late_s + 0.5 * TICK_S, hold


@pytest.mark.parametrize(("fault", "complaint"), [("off", "s old"), ("repeat", "s old"), ("freeze", "same picture")])
def test_a_camera_that_stops_or_repeats_itself_holds_and_the_policy_goes_on_by_itself(
    stack: FaultStack, holds: list[Hold], fault: str, complaint: str
):
    hold = stack.hold_after(f"camera {fault}", "answer", SOURCE_S, lambda: stack.tell_arm(f"camera {fault}"))
    check(hold, holds, G.REASON_SOURCE_STALE)
    stack.until(lambda: stack.policy[-1].state == PolicyStatus.STATE_WAITING, "the policy to miss its camera")
    assert "/agentview/image_raw" in stack.policy[-1].message and complaint in stack.policy[-1].message
    stack.tell_arm("camera on")
    stack.follow_policy()


def test_joint_states_that_stop_are_a_fault_that_an_engage_ends(stack: FaultStack, holds: list[Hold]):
    hold = stack.hold_after("joint states stop", "joints", STATE_S, lambda: stack.tell_arm("joints off"))
    # The policy sees the same states: which of the two is missed first is a matter of milliseconds.
    check(hold, holds, G.REASON_STATE_STALE, G.REASON_SOURCE_STALE)
    stack.until(lambda: stack.guard_is(G.STATE_FAULT), "the fault")
    assert stack.guard[-1].reason == G.REASON_STATE_STALE
    stack.tell_arm("joints on")
    stack.until(lambda: stack.policy[-1].state == PolicyStatus.STATE_RUNNING, "the policy to see its robot again")
    assert stack.guard_is(G.STATE_FAULT), "a fault ends by an engage, never by itself"
    stack.engage()
    stack.follow_policy()


def test_a_stopped_policy_process_holds_and_what_it_says_when_it_wakes_is_not_followed_blindly(stack: FaultStack, holds: list[Hold]):
    hold = stack.hold_after("policy stopped (SIGSTOP)", "answer", SOURCE_S, lambda: stack.signal("policy", signal.SIGSTOP))
    check(hold, holds, G.REASON_SOURCE_STALE)
    stack.commands.clear()
    stack.signal("policy", signal.SIGCONT)
    stack.follow_policy()
    steps = np.linalg.norm(np.diff([p for _, p in stack.commands], axis=0), axis=1)
    gaps = np.diff([s for s, _ in stack.commands]) / 1e9
    assert np.all(steps <= CONFIG.linear_speed_m_s * np.clip(gaps, TICK_S, CONFIG.max_tick_s) * 1.5 + 1e-6), steps.max()


def test_a_killed_policy_process_holds_and_a_new_one_is_followed(stack: FaultStack, holds: list[Hold]):
    hold = stack.hold_after("policy killed (SIGKILL)", "answer", SOURCE_S, lambda: stack.signal("policy", signal.SIGKILL))
    check(hold, holds, G.REASON_SOURCE_STALE)
    assert stack.processes["policy"].wait(timeout=30) == -signal.SIGKILL
    stack.start("policy")
    stack.follow_policy()


@pytest.mark.parametrize("shift_s", [2.0, -2.0])
def test_stamps_that_jump_are_a_fault_that_an_engage_ends(stack: FaultStack, holds: list[Hold], shift_s: float):
    hold = stack.hold_after(f"the robot's clock jumps by {shift_s:+.0f} s", "none", STATE_S, lambda: stack.jump(shift_s))
    # Stamps that go back also silence the policy, which begins anew: 3 ms before the robot's state is too old.
    check(hold, holds, G.REASON_STATE_STALE, G.REASON_CLOCK, G.REASON_SOURCE_STALE)
    stack.until(lambda: stack.guard_is(G.STATE_FAULT), "the fault")
    assert stack.guard[-1].reason in (G.REASON_STATE_STALE, G.REASON_CLOCK)
    stack.tell_arm("shift 0")
    stack.engage()
    stack.follow_policy()


def test_the_operator_takes_over_without_a_jump_and_a_released_deadman_holds(stack: FaultStack, holds: list[Hold]):
    stack.follow_policy()
    there = stack.commands[-1][1]
    stack.guard.clear()

    def steer(condition: Callable[[], bool], what: str, *, deadman: bool) -> None:
        # The operator speaks at 20 Hz, as the teleop node does; the bystander's own loop is the clock.
        spoken = [0]

        def speak_and_look() -> bool:
            now = stack.node.get_clock().now().nanoseconds
            if now - spoken[0] > 50_000_000:
                spoken[0] = now
                stack.operator(deadman=deadman, position_m=there if deadman else None)
            return condition()

        stack.until(speak_and_look, what)

    grabbed_ns = stack.node.get_clock().now().nanoseconds
    steer(lambda: stack.guard_is(G.STATE_OPERATOR), "the operator to be followed", deadman=True)
    late_s = stack.slowest_tick_s(grabbed_ns)
    after_s = (stack.first_ns(G.STATE_OPERATOR) - grabbed_ns) / 1e9
    holds.append(Hold("operator grabs", after_s, 0.1, late_s, G.REASON_NONE, "following the operator"))
    assert after_s <= 0.1 + late_s
    steps = np.linalg.norm(np.diff([p for _, p in stack.commands], axis=0), axis=1)
    gaps = np.diff([s for s, _ in stack.commands]) / 1e9
    # The speed limit over the tick's own time, to the microsecond that rounding of the stamps costs.
    assert np.all(steps <= CONFIG.linear_speed_m_s * gaps + 1e-6), (steps.max(), gaps.max())
    stack.guard.clear()
    released_ns = stack.node.get_clock().now().nanoseconds
    stack.operator(deadman=False)
    stack.until(lambda: stack.guard_is(G.STATE_HOLDING), "the hold")
    hold = Hold(
        "deadman released",
        (stack.first_ns(G.STATE_HOLDING) - released_ns) / 1e9,
        0.1,
        stack.slowest_tick_s(released_ns),
        stack.guard[-1].reason,
        stack.guard[-1].message,
    )
    check(hold, holds, G.REASON_DEADMAN_RELEASED)
    stack.follow_policy()
