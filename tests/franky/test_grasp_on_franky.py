"""The hand against franky-sim's fingers: homing, moves, a stop, a grasp of nothing, and one of a cube that is then lifted."""

import time

import numpy as np
import pytest
from hand_goals import ends

CUBE_M = 0.04
CUBE_AT_M = np.array([0.45, -0.2, 0.0])
ABOVE_M, AROUND_M = CUBE_AT_M + np.array([0.0, 0.0, 0.15]), CUBE_AT_M + np.array([0.0, 0.0, 0.02])

SCENE = "bench"

pytestmark = pytest.mark.timeout(1200)


def told(hand, deadline_s=10.0):
    """A state that was sent after this call."""
    hand.state()
    end, state = time.monotonic() + deadline_s, None
    while state is None:
        assert time.monotonic() < end
        time.sleep(0.01)
        state = hand.state()
    return state


def test_home_move_stop_and_a_grasp_of_nothing(scene, table):
    from cdp_franka_driver.hand import Hand, Status

    hand = Hand("127.0.0.1")
    assert ends(hand, hand.homing()) is Status.SUCCESS
    widest = told(hand).max_width_m
    assert ends(hand, hand.move(0.07, 0.05)) is Status.SUCCESS
    moved = told(hand).width_m
    goal = hand.move(0.01, 0.02)
    begun = told(hand).width_m
    while told(hand).width_m > begun - 0.005:
        pass
    assert ends(hand, hand.stop()) is Status.SUCCESS
    time.sleep(0.5)
    stopped, unanswered = told(hand).width_m, goal not in [answer.number for answer in hand.answers()]
    nothing = ends(hand, hand.grasp(CUBE_M, 0.05, 20.0, 0.005, 0.005))
    state = told(hand)
    hand.close()
    table.append(
        (
            "hand: homing, move to 0.070 m, stop on the way to 0.010 m",
            f"opens to {widest:.4f} m; {moved:.4f} m; stands at {stopped:.4f} m{', the stopped goal is never answered' if unanswered else ''}",
        )
    )
    table.append(("hand: grasp of nothing", f"{nothing.name}, closed to {state.width_m:.4f} m, grasped: {state.grasped}"))
    assert widest == pytest.approx(0.08, abs=0.002)
    assert moved == pytest.approx(0.07, abs=0.002)
    assert 0.02 < stopped < begun
    assert nothing in (Status.FAIL, Status.UNSUCCESSFUL)
    assert not state.grasped


def test_a_cube_is_grasped_by_the_nodes_and_lifted(scene, table, tmp_path_factory):
    from franky_stack import FrankyStack

    from cdp_franka_driver.hand import Hand, Status

    stack = FrankyStack(tmp_path_factory.mktemp("grasp"), "joint", scene)
    try:
        stack.start_hand()
        stack.start_driver()
        stack.start_guard()
        stack.control()
        assert stack.trigger("/cdp/gripper/home").success
        stack.width_m = 0.075
        stack.run(0.5)
        stack.engage()
        stack.go(ABOVE_M, 0.01)
        stack.until(lambda: stack.widths[-1] > 0.07, "the open hand")
        stack.go(AROUND_M, 0.008)
        lying = scene.ask()["thing"]
        stack.width_m = 0.02
        stack.until(lambda: stack.widths[-1] < CUBE_M + 0.004, "the fingers at the cube")
        stack.run(3.0)
        held_m = stack.widths[-1]
        stack.go(ABOVE_M, 0.01)
        stack.run(1.0)
        lifted, width_m, below_m = scene.ask()["thing"], stack.widths[-1], float(stack.here()[2] - scene.ask()["thing"][2])
        stack.end("hand")
        # The hand's own word for it: another client asks for what the fingers already do.
        hand = Hand("127.0.0.1")
        verdict, state = ends(hand, hand.grasp(CUBE_M, 0.05, 20.0, 0.005, 0.005)), told(hand)
        ends(hand, hand.move(0.075, 0.05))
        hand.close()
        stack.run(1.0)
        dropped = scene.ask()["thing"]
        reflexes = stack.status["reflexes"]
    finally:
        stack.close()
    table.append(
        (
            f"hand: grasp of a cube of {CUBE_M:.3f} m, by the nodes",
            f"width read back {held_m:.4f} m, lifted {width_m:.4f} m; {verdict.name}, grasped: {state.grasped}",
        )
    )
    table.append(("arm: lifts it by 0.13 m", f"by {lifted[2] - lying[2]:.3f} m, {below_m:+.3f} m below the hand; let go: back at {dropped[2]:.3f} m"))
    assert held_m == pytest.approx(CUBE_M, abs=0.003)
    assert verdict is Status.SUCCESS
    assert state.grasped
    assert lifted[2] - lying[2] > 0.1
    assert dropped[2] < 0.03
    assert not reflexes
