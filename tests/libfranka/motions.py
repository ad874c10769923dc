"""What the operator does with the arm in these tests, and what counts as a jump."""

import itertools
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml

from cdp_franka.kinematics import forward
from cdp_franka.limits import FR3

# Where the slide policy begins.
START_M = np.array([0.45, 0.0, 0.2])
GUARD = yaml.safe_load((Path(__file__).parents[2] / "config/guard.yaml").read_text())["cdp_guard"]["ros__parameters"]
# As fast as the guard lets each joint be, and the hand along each axis. A loop that catches up may go at 0.8 of a joint's limit instead of the
# guard's half: for 10 ms of the slowest joints that is 8 mrad more. For the hand, which is slower, half of its own 2.5 mm in 10 ms.
JOINT_SPEED, JOINT_ALLOWANCE = GUARD["joint_speed_share"] * FR3.dq_max_rad_s, 0.008
HAND_SPEED, HAND_ALLOWANCE_M = np.full(3, GUARD["linear_speed_m_s"]), 0.00125
# An arm that stops: target_delay_s, coast_s, and 20 ms until it is noticed, then braked with deceleration_rad_s2; besides, what the arm lags behind.
STOPS_AFTER_S, BRAKED_RAD_S2, LAG_RAD = 0.07, 4.0, 0.02
# An arm that is held: sags and settles by no more.
HELD_RAD = 0.005


@contextmanager
def standing_at_the_start(folder, interface, kind=None):
    """Driver and guard, and the arm brought to where the policy begins: where franka-sim begins it is singular. ``kind``: of the stack."""
    from wire_stack import Stack

    stack = (kind or Stack)(folder, interface)
    try:
        stack.start_driver()
        stack.start_guard()
        stack.control()
        stack.run(0.5)
        from_start(stack)
        yield stack
    finally:
        stack.close()


def assert_no_jump(samples, joints, what):
    """Samples are (stamp ns, positions), of joints, or of the hand."""
    from wire_stack import share_of_allowed

    share = share_of_allowed(samples, *((JOINT_SPEED, JOINT_ALLOWANCE) if joints else (HAND_SPEED, HAND_ALLOWANCE_M)))
    assert share < 1.0, f"{what}: a step of {share:.2f} of what is allowed"


def stopped_and_held(stack, first, what):
    """How far the arm went on while nobody heard of it, from sample ``first`` on, and how far since: as an arm that stops and is held."""
    samples = stack.joints[first - 1 :]
    again = 1 + int(np.argmax([b[0] - a[0] for a, b in itertools.pairwise(samples)]))
    speed = max(stack.speeds[stamp] for stamp, _ in samples[max(again - 10, 0) : again])
    allowed = STOPS_AFTER_S * speed + speed**2 / (2.0 * BRAKED_RAD_S2) + LAG_RAD
    silent, heard, last = samples[again - 1][1], samples[again][1], samples[-1][1]
    way, drift = float(np.abs(heard - silent).max()), float(np.abs(last - heard).max())
    assert way < allowed, f"{what}: the arm went on by {way:.4f} rad, from {speed:.2f} rad/s it stops within {allowed:.4f} rad"
    assert drift < HELD_RAD, f"{what}: the arm drifted by {drift:.4f} rad"
    return way, drift


def at_rest(stack, seconds=0.5):
    """How far the joints go in ``seconds``."""
    first = len(stack.joints)
    stack.run(seconds)
    path = np.array([q for _, q in stack.joints[first:]])
    return float(np.ptp(path, axis=0).max()) if len(path) else 0.0


def in_motion(stack):
    """Engaged, and the operator moves the arm around. A machine too busy for the robot's 20 ms stops the arm: that is begun anew."""
    since = len(stack.joints)
    while stack.moved(since) < 0.2:
        stack.wish = None
        if stack.status["problem"] == "reflex":
            assert stack.status["reflexes"] == "communication_constraints_violation", stack.status
            stack.stops += 1
            stack.recover()
        stack.control()
        stack.run(0.3)
        stack.circle(START_M)
        stack.until(lambda: stack.ask_to_engage() is True or stack.status["phase"] == "waiting", "the guard to engage")
        since = len(stack.joints)
        stack.until(lambda: stack.moved(since) > 0.2 or stack.status["phase"] == "waiting" or stack.guard_is(0, 4), "the arm to move")  # noqa: B023


def resumes(stack, what):
    """Control, engage, motion again: nothing jumps. Returns the largest steps of commanded and of measured."""
    from wire_stack import largest_step

    stack.control()
    stack.desired.clear()
    first = len(stack.joints)
    stack.until(lambda: stack.desired and len(stack.joints) > first, "what the loop wants, and what is measured")
    begun_ns, wanted = stack.desired[0]
    arm = min(stack.joints[first:], key=lambda sample: abs(sample[0] - begun_ns))[1]
    if stack.interface == "joint":
        assert np.abs(arm - wanted).max() < 0.02, f"{what}: control began {np.abs(arm - wanted).max():.4f} rad from the arm"
    else:
        off_m = float(np.linalg.norm(forward(arm)[0] - wanted))
        assert off_m < 0.01, f"{what}: control began {off_m:.4f} m from the arm"
    stack.circle(START_M)
    stack.engage()
    since = len(stack.joints)
    stack.until(lambda: stack.moved(since) > 0.2, "the arm to move again")
    commanded, measured = largest_step(stack.desired), largest_step(stack.joints[first:])
    assert_no_jump(stack.desired, stack.interface == "joint", f"{what}: the command")
    assert_no_jump(stack.joints[first:], True, f"{what}: the arm")
    return commanded, measured


def from_start(stack):
    in_motion(stack)
    stack.go(START_M)
