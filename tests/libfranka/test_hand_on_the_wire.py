"""``franka_hand``'s side of the hand's protocol against franka-sim's."""

import time

import pytest
from hand_goals import ends

from cdp_franka_driver.hand import Hand, Status


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from wire_stack import franka_sim

    made = franka_sim(tmp_path_factory.mktemp("hand"), "--gripper-object-width", "0.03")
    made.start()
    yield made
    made.stop()


def until(hand, condition, deadline_s=10.0):
    """Goals are answered by TCP, the width comes by itself."""
    end, state = time.monotonic() + deadline_s, None
    while state is None or not condition(state):
        assert time.monotonic() < end, state
        time.sleep(0.01)
        state = hand.state() or state


def test_home_move_grasp_and_stop(server, table):
    hand = Hand("127.0.0.1")
    found = {"homing": ends(hand, hand.homing()), "move": ends(hand, hand.move(0.06, 0.1))}
    until(hand, lambda state: state.width_m == pytest.approx(0.06, abs=0.002))
    found["grasp of what is there"] = ends(hand, hand.grasp(0.03, 0.1, 30.0, 0.005, 0.005))
    until(hand, lambda state: state.grasped)
    found["stop"] = ends(hand, hand.stop())
    assert set(found.values()) == {Status.SUCCESS}
    ends(hand, hand.move(0.08, 0.1))
    assert ends(hand, hand.grasp(0.06, 0.1, 30.0, 0.001, 0.001)) is Status.UNSUCCESSFUL
    assert ends(hand, hand.move(0.5, 0.1)) is Status.FAIL
    hand.close()
    # The next client is served.
    Hand("127.0.0.1").close()
    table.append(("hand: homing, move, grasp, stop", "done; a grasp of nothing and a width out of range are told apart"))
