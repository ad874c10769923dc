"""An arm that stands below the floor of the guard's box, as friction or a hand may leave it: engaged near it, brought in, and not let out again."""

import numpy as np
import pytest
from motions import GUARD, START_M, assert_no_jump, standing_at_the_start

from cdp_franka.kinematics import forward

TOLERANCE_M = GUARD["workspace_tolerance_m"]
# How far an arm may creep whose target does not move: friction holds it off by so much.
CREEP_M = 0.003
# The driver's reference comes to rest at the guard's target to within this.
SETTLED_M = 2e-4

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=["joint", "cartesian"])
def stack(request, tmp_path):
    from wire_stack import franka_sim

    server = franka_sim(tmp_path)
    server.start()
    try:
        with standing_at_the_start(tmp_path, request.param) as made:
            yield made
    finally:
        server.stop()


def with_floor_above(stack, height_m):
    """A new guard, whose floor is ``height_m`` above the hand. Returns the hand's height."""
    stack.wish = None
    stack.end("guard")
    stack.guard.clear()
    stack.run(1.0)
    hand_m = stack.here()[2]
    stack.start_guard(f"workspace_z_m:=[{hand_m + height_m}, {GUARD['workspace_z_m'][1]}]")
    stack.control()
    stack.until(lambda: stack.guard, "the guard's first status")
    return hand_m


def test_an_arm_just_outside_is_engaged_may_come_in_and_not_leave_again(stack, table):
    """Catches a guard that engages nowhere but inside, pulls the arm in by itself, lets it further out, or leaves the way out open behind it."""

    def height(position):
        return position[2] if stack.interface == "cartesian" else forward(position)[0][2]

    with_floor_above(stack, TOLERANCE_M + 0.005)
    stack.run(1.0)
    assert stack.ask_to_engage() is False

    hand_m = with_floor_above(stack, 0.006)
    floor_m = hand_m + 0.006
    stack.engage()
    first = len(stack.joints)
    # Until the engage the driver has held the target of before.
    stack.run(1.0)
    stack.desired.clear()
    stack.until(lambda: stack.desired, "the target")
    engaged_m = height(stack.desired[0][1])
    assert abs(engaged_m - hand_m) < CREEP_M and abs(stack.here()[2] - hand_m) < CREEP_M, "engaged where it is, and nobody moves it"
    stack.wish = lambda _: stack.here() - np.array([0.0, 0.0, 0.05])
    stack.run(2.0)
    lowest_m = min(height(position) for _, position in stack.desired)
    assert lowest_m > engaged_m - SETTLED_M
    assert_no_jump(stack.desired, stack.interface == "joint", "the command")
    assert_no_jump(stack.joints[first:], True, "the arm")

    stack.go(START_M + np.array([0.0, 0.0, 0.1]))
    assert stack.here()[2] > floor_m + 0.02
    inside = len(stack.desired)
    stack.wish = lambda _: stack.here() - np.array([0.0, 0.0, 0.05])
    stack.until(lambda: height(stack.desired[-1][1]) < floor_m + 0.001, "the target back at the floor")
    stack.run(2.0)
    back_m = min(height(position) for _, position in stack.desired[inside:])
    assert back_m > floor_m - SETTLED_M, "closed behind the arm"
    table.append(
        (
            f"{stack.interface}: engaged 6 mm below the box",
            f"pushed down: target at most {1e3 * (engaged_m - lowest_m):.2f} mm lower; up and down again: "
            f"lowest {1e3 * (back_m - floor_m):+.1f} mm from the floor; {1e3 * (TOLERANCE_M + 0.005):.0f} mm below it is refused",
        )
    )
