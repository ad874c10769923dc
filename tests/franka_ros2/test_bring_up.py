"""Guard, policy and operator on franka_ros2 itself: libfranka, ros2_control and the trajectory controller, brought up by our launch file."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from motions import at_rest, from_start, in_motion, resumes, standing_at_the_start

DURATION_S = float(os.environ.get("CDP_DURATION", "60"))
# The reflex of an arm that hears no command for 20 ms, in libfranka's words.
REFLEX = 'motion aborted by reflex! ["communication_constraints_violation"]'
BUNDLE = Path(__file__).resolve().parents[2] / "models/slide"

pytestmark = pytest.mark.timeout(int(10 * DURATION_S) + 600)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from wire_stack import franka_sim

    made = franka_sim(tmp_path_factory.mktemp("server"), program=Path(__file__).with_name("hand_on_server.py"))
    made.start()
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, made.process.pid, -10)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def stack(server, tmp_path_factory):
    from bring_up import BringUp

    with standing_at_the_start(tmp_path_factory.mktemp("bringup"), "joint", BringUp) as made:
        yield made


def test_everything_is_up(stack, table):
    from bring_up import CONTROLLERS

    found = stack.controllers()
    assert found == dict.fromkeys(CONTROLLERS, "active")
    assert "controller joint_trajectory_controller is ready" in stack.log()
    assert "the measured pose is ignored" not in stack.log()
    table.append(("brought up", f"{', '.join(found)} active; measured pose, fingers and joints heard; the arm taken to the start by the operator"))


def test_a_policy_drives_the_arm_without_a_reflex(stack, table):
    stack.start_policy(BUNDLE)
    # Its start takes the processors for some seconds.
    stack.until(lambda: stack.policy, "the policy node")
    stack.run(2.0)
    from_start(stack)
    stack.wish = None
    stack.until(lambda: stack.guard_is(3), "the guard to follow the policy", each=stack.engage_after_a_fault)
    stack.desired.clear()
    stack.rates.clear()
    faults, begun, since = stack.faults, stack.robot_s(), len(stack.joints)
    reflexes = []

    def over():
        reflexes.extend(["the hardware is down"] if stack.down() else [])
        return bool(reflexes) or stack.robot_s() - begun > DURATION_S

    stack.until(over, "the time to pass", 20 * DURATION_S + 60, each=stack.engage_after_a_fault)
    stack.end("policy")
    stack.camera = False
    robot_s, moved = stack.robot_s() - begun, stack.moved(since)
    table.append(
        (
            f"policy, guard, franka_ros2 for {robot_s:.0f} s of the robot",
            f"{len(reflexes)} reflexes, commands in time {np.mean(stack.rates):.4f}, arm moved {moved:.1f} rad "
            f"({moved / robot_s:.2f} rad/s), {stack.faults - faults} faults of the guard, {stack.retreats} retreats: "
            f"{sorted(set(stack.guard_faults))}",
        )
    )
    assert reflexes == []
    assert moved > 0.1 * robot_s


def test_a_guard_that_falls_silent_in_motion_stops_the_arm_without_a_reflex(stack, table):
    """The controller keeps the last point's velocity for 0.1 s and then holds: a stop that the robot has to take for one."""
    speeds, reflexes = [], stack.log().count("aborted by reflex")
    for silent_s in (None, None, 0.05, 0.2, 0.4):
        speeds.append(stack.fast())
        if silent_s is None:
            stack.disengage()
        else:
            guard = stack.pid("guard_node")
            os.kill(guard, signal.SIGSTOP)
            stack.run(silent_s)
            os.kill(guard, signal.SIGCONT)
        stack.run(1.0)
        assert stack.log().count("aborted by reflex") == reflexes, f"silent for {silent_s or 'good'} at {speeds[-1]:.2f} rad/s"
    table.append(("guard disengaged twice, and stopped for 0.05, 0.2 and 0.4 s", f"no reflex, at {min(speeds):.2f} to {max(speeds):.2f} rad/s"))


def test_after_a_reflex_the_lab_guide_s_steps_bring_the_arm_back(stack, table):
    from bring_up import ARM

    in_motion(stack)
    process = stack.pid("ros2_control_node")
    os.kill(process, signal.SIGSTOP)
    stack.run(0.5)
    os.kill(process, signal.SIGCONT)
    # With its hardware ros2_control takes the broadcasters down too: what stopped the arm stands in the launch's output, and in Desk.
    stack.until(lambda: stack.guard_is(0) and REFLEX in stack.log(), "the guard off, and the reflex by its name")
    said = stack.guard[-1].message
    assert set(stack.controllers().values()) == {"inactive"}
    stack.recover()
    commanded, measured = resumes(stack, "after the reflex")
    table.append(
        ("ros2_control stopped for 0.5 s in motion", f"reflex; guard: {said[:60]!r}; recovered; largest step {commanded:.4f}, {measured:.4f} rad")
    )
    assert f"{ARM} is inactive" in said


def test_a_guard_that_is_killed_ends_the_launch_and_the_arm_rests(stack, server, table):
    in_motion(stack)
    begun = time.monotonic()
    launch = stack.processes["bringup"]
    os.kill(stack.pid("guard_node"), signal.SIGKILL)
    stack.until(lambda: launch.poll() is not None, "the launch to end")
    took_s = time.monotonic() - begun
    stack.processes.pop("bringup")
    last = stack.joints[-1][1]
    stack.wish = None
    stack.guard.clear()
    stack.start_driver()
    heard = len(stack.joints)
    stack.until(lambda: len(stack.joints) > heard + 10 and stack.guard_is(0), "the next bring-up")
    stack.control()
    drift = at_rest(stack)
    way = float(np.abs(stack.joints[-1][1] - last).max())
    commanded, measured = resumes(stack, "after the guard")
    table.append(
        (
            "guard killed in motion",
            f"the launch ended after {took_s:.1f} s; {way:.3f} rad on; brought up again; largest step {commanded:.4f}, {measured:.4f} rad",
        )
    )
    assert drift < 0.005


def test_what_the_machine_itself_stopped(stack, table):
    """Not a check: what has to be known of the machine to read the rest."""
    table.append(("stopped by this machine's load, beside the above", f"{stack.stops} times; guard's faults: {stack.faults}"))
