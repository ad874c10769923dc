"""The cable is cut in motion, with nobody told, and is whole again: ``relay.py`` is the cable."""

import sys
import time
from pathlib import Path

import pytest
from motions import in_motion, resumes, standing_at_the_start, stopped_and_held

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cable(tmp_path_factory):
    """The file that cuts it."""
    from wire_stack import Server, franka_sim

    folder = tmp_path_factory.mktemp("cable")
    robot = franka_sim(folder, "--port", "1437")
    relay = Server(
        folder / "relay.log", [sys.executable, "-u", str(Path(__file__).with_name("relay.py")), str(folder / "cut")], b"ready", ports=(1337,)
    )
    robot.start()
    relay.start()
    yield folder / "cut"
    relay.stop()
    robot.stop()


@pytest.fixture(scope="module", params=["joint", "cartesian"])
def stack(cable, request, tmp_path_factory):
    with standing_at_the_start(tmp_path_factory.mktemp(request.param), request.param) as made:
        yield made


def test_the_cable_is_cut_in_motion(stack, cable, table):
    """Catches a driver that waits forever, an arm that goes on or is let go, and a jump when the cable is whole again."""
    in_motion(stack)
    first, begun = len(stack.joints), time.monotonic()
    cable.touch()
    try:
        stack.until(lambda: stack.status["phase"] == "connecting", "the driver to say that the robot is gone")
        named, said = time.monotonic() - begun, stack.statuses[-1][0]
        stack.until(lambda: stack.guard_is(0, 4), "the guard to fault or disengage")
        disengaged = time.monotonic() - begun
        stack.run(2.0)
        assert stack.status["phase"] == "connecting"
    finally:
        cable.unlink()
    stack.until(lambda: stack.status["phase"] in ("controlling", "waiting"), "the driver to connect again")
    stack.run(2.0)
    way, drift = stopped_and_held(stack, first, "the cut")
    found = stack.status["reflexes"] or "no reflex"
    if stack.status["phase"] != "controlling":
        assert stack.recover().success
    commanded, measured = resumes(stack, "after the cut")
    table.append(
        (
            f"{stack.interface}: cable cut",
            f"{said[:60]!r} after {named:.1f} s, guard off after {disengaged:.1f} s; stopped within {way:.4f}, held within {drift:.4f} rad; "
            f"connected again ({found}), largest step {commanded:.4f}, {measured:.4f} rad",
        )
    )
