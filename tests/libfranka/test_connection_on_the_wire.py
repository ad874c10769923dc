"""One driver, at whose robot's door stands first nobody, then who does not answer, then an older robot, then a mute one, and at last the robot."""

import contextlib
import time

import pytest

from cdp_franka_driver.problems import FIXES, Kind

DOORMEN = {
    "absent": Kind.FCI_OFF,
    "deaf": Kind.UNREACHABLE,
    "old": Kind.VERSION,
    "mute": Kind.CONNECTION,
}
SAYS = {
    "absent": "Connection to FCI refused",
    "deaf": "Connection timeout",
    "old": "server version: 9, library version: 10",
    "mute": "does not answer",
}


@pytest.fixture
def stack(tmp_path):
    from wire_stack import Stack

    made = Stack(tmp_path, "joint")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def robot(tmp_path):
    from wire_stack import franka_sim

    made = franka_sim(tmp_path)
    yield made
    made.stop()


def test_who_stands_at_the_door_is_named_and_the_robot_is_controlled_when_it_is_there(stack, robot, table):
    """Catches a text of libfranka's that is misunderstood, a connection that is waited for forever, and a driver that has to be restarted."""
    from doorman import Doorman

    took = {}
    stack.start_driver()
    stack.until(lambda: stack.statuses, "the driver")
    for kind, problem in DOORMEN.items():
        begun = time.monotonic()
        with contextlib.closing(Doorman(kind)):
            stack.until(lambda: stack.status["problem"] == problem.value, f"{problem.value}, with {kind} at the door")  # noqa: B023
        took[kind] = time.monotonic() - begun
        said = stack.statuses[-1][0]
        assert SAYS[kind] in said
        assert FIXES[problem] in said
        assert stack.status["phase"] == "connecting"
    begun = time.monotonic()
    robot.start()
    stack.control()
    took["robot"] = time.monotonic() - begun
    for kind, problem in DOORMEN.items():
        table.append((f"at the door: {kind}", f"{problem.value!r} after {took[kind]:.1f} s"))
    table.append(("at the door: the robot", f"controlled by itself after {took['robot']:.1f} s, its start included"))
