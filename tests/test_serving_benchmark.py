"""What the serving benchmark makes of a machine whose host takes time away."""

import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import serving


def test_turns_in_which_the_host_took_time_are_made_again_and_told_apart():
    """Catches a p99 that is the host's, and one from which slow chunks of our own are left out."""
    clock = itertools.accumulate(itertools.cycle([0, 0, 0, 7]))
    times = serving.time_chunks({"policy": lambda: 5.0}, 3 * serving.BLOCK, kept_by_host=lambda: next(clock))
    # Of the two turns of each round, policy's and probe's, the host takes from the probe's.
    assert times.ours["policy"] == [5.0] * 3 * serving.BLOCK
    assert times.ours["probe"] == []
    assert len(times.every["probe"]) == len(times.every["policy"]) == 3 * serving.MOST * serving.BLOCK
    assert len(times.firsts["policy"]) == 3


@pytest.mark.parametrize(
    ("values", "steady", "slow", "said"),
    [
        ([9.0] * 200, [1.0] * 200, False, "steady"),
        ([9.0] * 190 + [11.0] * 10, [1.0] * 200, True, "steady"),
        ([9.0] * 190 + [11.0] * 10, [1.0] * 190 + [3.0] * 10, False, "not ours alone"),
        ([11.0] * 60, [1.0] * 200, False, "too few"),
    ],
)
def test_a_slow_policy_fails_on_a_machine_that_is_ours_only(values, steady, slow, said, capsys):
    assert serving.too_slow(values, steady, 10.0) is slow
    assert said in capsys.readouterr().out
