"""What a person or the robot's safety does to the robot, in motion and before the driver starts: ``stopped_server.py`` does it on demand."""

import time

import numpy as np
import pytest
from cdp_ros.stamps import stamp_to_ns
from motions import in_motion, resumes, standing_at_the_start

from cdp_franka_driver.problems import FIXES, Kind

KINDS = {
    "user stop": Kind.USER_STOP,
    "joints locked": Kind.LOCKED,
    "guided": Kind.WRONG_MODE,
    "safety function": Kind.SAFETY,
}
TOPICS = {"joint": "/franka_driver/joint_trajectory", "cartesian": "/franka_driver/equilibrium_pose"}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    from wire_stack import StoppableRobot

    made = StoppableRobot(tmp_path_factory.mktemp("stops"))
    made.server.start()
    yield made
    made.server.stop()


@pytest.fixture(scope="module", params=["joint", "cartesian"])
def stack(robot, request, tmp_path_factory):
    with standing_at_the_start(tmp_path_factory.mktemp(request.param), request.param) as made:
        yield made


@pytest.fixture(autouse=True)
def released(robot):
    yield
    robot.release()


@pytest.mark.parametrize("state", KINDS)
def test_a_robot_that_is_stopped_in_motion_is_named_left_alone_and_controlled_again(stack, robot, table, state):
    """Catches a state that is named otherwise, a process that libfranka ends, commands meanwhile, and a jump to where the arm was before."""
    in_motion(stack)
    kind, process, robot_s, begun = KINDS[state], stack.status["process_id"], stack.robot_s(), time.monotonic()
    robot.stop(state)
    stack.until(lambda: stack.status["problem"] == kind.value, f"{kind.value}")
    named, named_robot_s = time.monotonic() - begun, stack.robot_s() - robot_s
    assert FIXES[kind] in stack.statuses[-1][0]
    stack.until(lambda: stack.guard_is(0, 4), "the guard to disengage")
    disengaged = time.monotonic() - begun
    first_status, first_joint, before = len(stack.statuses), len(stack.joints), stack.joints[-1][1]
    stack.run(3.0)
    meanwhile = [facts for _, facts in stack.statuses[first_status:]]
    assert {(facts["phase"], facts["problem"], facts["process_id"]) for facts in meanwhile} == {("waiting", kind.value, process)}
    assert stack.node.count_subscribers(TOPICS[stack.interface]) == 0
    assert stack.ask_to_engage() is False
    assert len(stack.joints) > first_joint + 30
    turned = float(np.abs(stack.joints[-1][1] - before).max())
    assert (turned > 0.1) == (state == "guided")
    stack.wish = None
    released = time.monotonic()
    robot.release()
    stack.control()
    controlled = time.monotonic() - released
    commanded, measured = resumes(stack, state)
    table.append(
        (
            f"{stack.interface}: {state} in motion",
            f"{kind.value!r} after {named:.2f} s, guard off after {disengaged:.2f} s; control {controlled:.1f} s after the release, "
            f"arm turned by {turned:.2f} rad meanwhile, largest step {commanded:.4f}, {measured:.4f} rad",
        )
    )
    assert named_robot_s < 1.0


@pytest.mark.parametrize("state", [*KINDS, "reflex"])
def test_a_driver_that_starts_while_the_robot_is_stopped_takes_control_when_it_may(stack, robot, table, state):
    """Catches a driver that cannot connect to a robot which refuses settings, and so cannot show its state, or recover it."""
    kind = KINDS.get(state, Kind.REFLEX)
    in_motion(stack)
    stack.wish = None
    stack.end("driver")
    robot.stop(state)
    stack.statuses.clear()
    stack.joints.clear()
    stack.start_driver()
    stack.until(lambda: stack.status["phase"] == "waiting" and stack.status["problem"] == kind.value, f"{kind.value} at the start")
    stack.until(lambda: len(stack.joints) > 30, "where the joints are")
    assert stamp_to_ns(stack.node.get_clock().now().to_msg()) - stack.joints[-1][0] < 1_000_000_000
    if state == "reflex":
        assert stack.status["reflexes"] == "communication_constraints_violation"
        answer = stack.recover()
        assert answer.success, answer.message
    else:
        robot.release()
    begun = time.monotonic()
    in_motion(stack)
    table.append(
        (
            f"{stack.interface}: driver started in {state}",
            f"{kind.value!r}, joint states; engaged and in motion {time.monotonic() - begun:.1f} s later",
        )
    )
