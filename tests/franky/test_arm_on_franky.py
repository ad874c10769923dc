"""The driver against franky-sim's physics: the arm is held, moved, and driven into something hard."""

import itertools

import numpy as np
import pytest
from motions import START_M, assert_no_jump, resumes

from cdp_franka.kinematics import forward

CIRCLES_S = 12.0
# Behind the post's near side, at the height of the hand.
INTO_THE_POST_M = np.array([0.70, 0.0, 0.15])
BEFORE_THE_POST_M = np.array([0.50, 0.0, 0.15])
# Friction of joints, against the stiffness that holds them.
HELD_RAD, FOLLOWED_RAD, FOLLOWED_M = 0.01, 0.05, 0.02
# One of the two thresholds is low, the other out of reach.
THRESHOLDS = {
    "joint_reflex": ("collision_torque_nm:=[8.0,8.0,8.0,8.0,8.0,8.0,8.0]", "collision_force_n:=[150.0,150.0,150.0,150.0,150.0,150.0]"),
    "cartesian_reflex": ("collision_torque_nm:=[100.0,100.0,100.0,100.0,100.0,100.0,100.0]", "collision_force_n:=[15.0,15.0,15.0,50.0,50.0,50.0]"),
}

SCENE = "bench"

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module", params=["joint", "cartesian"])
def stack(scene, request, tmp_path_factory):
    from franky_stack import FrankyStack

    made = FrankyStack(tmp_path_factory.mktemp(request.param), request.param, scene)
    try:
        made.start_driver()
        made.start_guard()
        made.control()
        made.run(0.5)
        made.engage()
        made.go(START_M)
        yield made
    finally:
        made.close()


def worst_lag(stack, desired, joints):
    """Greatest difference between where the loop wants the arm and where it is, rad or m, at equal stamps."""
    measured = dict(joints)
    pairs = [(wanted, measured[stamp]) for stamp, wanted in desired if stamp in measured]
    assert len(pairs) > 100
    if stack.interface == "cartesian":
        pairs = [(wanted, forward(q)[0]) for wanted, q in pairs]
    return max(float(np.abs(wanted - found).max()) for wanted, found in pairs)


def test_the_arm_is_held_and_follows(stack, scene, table):
    from wire_stack import largest_step

    stack.go(START_M, 0.01)
    stack.run(2.0)
    since = len(stack.joints)
    stack.run(3.0)
    held = np.ptp([q for _, q in stack.joints[since:]], axis=0).max()
    before = scene.ask()
    stack.circle(START_M)
    stack.run(1.0)
    since = len(stack.joints)
    stack.desired.clear()
    stack.run(CIRCLES_S)
    desired, joints, after = list(stack.desired), stack.joints[since:], scene.ask()
    lag, commanded, measured = worst_lag(stack, desired, joints), largest_step(desired), largest_step(joints)
    factor = (after["simulated_s"] - before["simulated_s"]) / (after["wall_s"] - before["wall_s"])
    way = sum(float(np.abs(b - a).sum()) for (_, a), (_, b) in itertools.pairwise(joints))
    unit = "rad" if stack.interface == "joint" else "m"
    table.append(
        (
            f"{stack.interface}: held for 3 s, then circles for {CIRCLES_S:.0f} s ({way:.1f} rad)",
            f"moved {held:.5f} rad while held; behind what is wanted by up to {lag:.4f} {unit}; steps {commanded:.4f} {unit}, {measured:.4f} rad; "
            f"{factor:.2f} of real time",
        )
    )
    assert stack.status["phase"] == "controlling", stack.status
    assert held < HELD_RAD
    assert way > 1.0
    assert lag < (FOLLOWED_RAD if unit == "rad" else FOLLOWED_M)
    assert_no_jump(desired, unit == "rad", "the command")
    assert_no_jump(joints, True, "the arm")


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_contact_is_a_reflex_by_its_name_and_the_motion_goes_on_without_a_jump(stack, scene, table, name):
    stack.wish = None
    stack.end("driver")
    stack.statuses.clear()
    stack.start_driver(*THRESHOLDS[name])
    stack.control()
    stack.run(0.5)
    stack.engage()
    stack.go(BEFORE_THE_POST_M, 0.01)
    felt_before = np.abs(scene.ask()["torque_nm"]).max()
    stack.wish = lambda now_ns: stack._towards(INTO_THE_POST_M)
    stack.until(lambda: stack.status["problem"] == "reflex", f"the {name}")
    found = scene.ask()
    named = stack.status["reflexes"]
    stack.wish = None
    stack.until(lambda: stack.guard_is(0), "the guard to disengage")
    # Somebody looks at the arm and takes away what it presses against: recovered before, it would be in reflex again at once.
    scene.ask(post=False)
    stack.run(1.0)
    answer = stack.recover()
    assert answer.success, answer.message
    commanded, measured = resumes(stack, name)
    stack.go(BEFORE_THE_POST_M)
    scene.ask(post=True)
    table.append(
        (
            f"{stack.interface}: driven into the post, {name}",
            f"named {named!r} at {stack.here()[0]:.2f} m, torque {np.abs(found['torque_nm']).max():.1f} Nm (free: {felt_before:.1f}), force "
            f"{np.abs(found['wrench'][:3]).max():.1f} N soon after; recovered, largest step {commanded:.4f} commanded, {measured:.4f} rad measured",
        )
    )
    assert named == name
    assert felt_before < 1.0
