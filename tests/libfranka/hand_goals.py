"""What becomes of a hand's goals."""

import time


def ends(hand, number, deadline_s=30.0):
    """The status that goal ``number`` ends with."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        for answer in hand.answers():
            if answer.number == number:
                return answer.status
        time.sleep(0.01)
    raise AssertionError(f"goal {number} did not end within {deadline_s} s")
