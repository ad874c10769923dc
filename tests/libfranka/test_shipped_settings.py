"""Driver and guard by config/driver.yaml and config/guard.yaml as they are, on a machine that robot, nodes and camera share."""

from pathlib import Path

import numpy as np
import pytest
from motions import HELD_RAD, at_rest, from_start, standing_at_the_start

SECONDS = 30.0
BUNDLE = Path(__file__).resolve().parents[2] / "models/slide"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def stack(tmp_path):
    from wire_stack import ShippedStack, franka_sim

    server = franka_sim(tmp_path)
    server.start()
    try:
        with standing_at_the_start(tmp_path, "joint", ShippedStack) as made:
            yield made
    finally:
        server.stop()


def test_a_policy_by_the_shipped_settings_drives_the_arm_or_leaves_it_held(stack, table):
    """Catches settings that stop the arm by a reflex, and a fault or a refused target after which it goes on; how many there are is the machine's."""
    stack.start_policy(BUNDLE)
    from_start(stack)
    stack.wish = None
    stack.until(lambda: stack.guard_is(3), "the guard to follow the policy", each=stack.engage_after_a_stall)
    drifts = []

    def look():
        if stack.guard_is(0, 4):
            # The reference coasts, and is braked.
            stack.run(0.5)
            drifts.append(at_rest(stack))
            stack.engage_after_a_stall()

    stack.statuses.clear()
    stack.guard_faults.clear()
    stack.guard_states.clear()
    stack.until(lambda: stack.statuses, "a status")
    begun, since, refused = stack.robot_s(), len(stack.joints), int(stack.status["refused_targets"])
    stack.until(lambda: stack.status["problem"] == "reflex" or stack.robot_s() - begun > SECONDS, "the time to pass", 240.0, each=look)
    facts = [found for _, found in stack.statuses]
    rates = [float(found["control_command_success_rate"]) for found in facts if found["phase"] == "controlling"]
    reflexes = sorted({found["reflexes"] for found in facts if found["reflexes"]})
    robot_s, moved = stack.robot_s() - begun, stack.moved(since)
    share = float(np.mean([state == 3 for state in stack.guard_states]))
    table.append(
        (
            f"joint: shipped settings, {robot_s:.0f} s of the robot",
            f"{', '.join(reflexes) or 'no reflex'}, commands in time {np.mean(rates):.4f}, arm moved {moved:.1f} rad, "
            f"policy {share:.3f} of the time, {len(drifts)} times held (at rest within {max(drifts, default=0.0):.4f} rad), "
            f"{int(stack.status['refused_targets']) - refused} refused targets, faults: {sorted(set(stack.guard_faults))}",
        )
    )
    assert reflexes == []
    assert moved > 1.0
    assert max(drifts, default=0.0) < HELD_RAD
