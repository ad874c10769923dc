import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.statistics import percentiles, wilson_interval


def test_wilson_matches_published_values():
    # Newcombe (1998), table I, method 3: 81/263 and 0/20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_rate_and_mirrors(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirror = wilson_interval(trials - successes, trials)
    assert (low, high) == pytest.approx((1 - mirror[1], 1 - mirror[0]))


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 3), (4, 3)])
def test_impossible_counts_are_refused(successes, trials):
    with pytest.raises(ValueError, match="cannot be"):
        wilson_interval(successes, trials)


def test_percentiles_of_nothing_are_nan():
    assert all(math.isnan(v) for v in percentiles([]))
    assert percentiles([1.0, 2.0, 3.0], (0, 50, 100)) == (1.0, 2.0, 3.0)
