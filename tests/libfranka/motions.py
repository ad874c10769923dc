"""What the operator does with the arm in these tests, and what counts as a jump."""

from contextlib import contextmanager

import numpy as np

# Where the slide policy begins.
START_M = np.array([0.45, 0.0, 0.2])
# A hundredth of a second at 2.6 rad/s and at 0.5 m/s: more would be a jump. The guard allows half of each.
JOINT_STEP, POSE_STEP_M = 0.026, 0.005


@contextmanager
def standing_at_the_start(folder, interface):
    """Driver and guard, and the arm brought to where the policy begins: where franka-sim begins it is singular."""
    from wire_stack import Stack

    stack = Stack(folder, interface)
    try:
        stack.start_driver()
        stack.start_guard()
        stack.control()
        stack.run(0.5)
        from_start(stack)
        yield stack
    finally:
        stack.close()


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
    if stack.interface == "joint":
        begun_ns = stack.desired[0][0]
        at = min(stack.joints[first:], key=lambda sample: abs(sample[0] - begun_ns))[1] - stack.desired[0][1]
        assert np.abs(at).max() < 0.02, f"{what}: control began {np.abs(at).max():.4f} rad from the arm"
    stack.circle(START_M)
    stack.engage()
    since = len(stack.joints)
    stack.until(lambda: stack.moved(since) > 0.2, "the arm to move again")
    commanded, measured = largest_step(stack.desired), largest_step(stack.joints[first:])
    assert commanded < (JOINT_STEP if stack.interface == "joint" else POSE_STEP_M), f"{what}: the command jumped by {commanded:.4f}"
    assert measured < JOINT_STEP, f"{what}: the arm jumped by {measured:.4f} rad"
    return commanded, measured


def from_start(stack):
    in_motion(stack)
    stack.go(START_M)
