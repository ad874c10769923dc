import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cdp.data.normalise import SMALLEST_RANGE, MinMax, Stats, StatsError

ROWS = st.integers(1, 8).flatmap(lambda d: arrays(np.float64, st.tuples(st.integers(1, 20), st.just(d)), elements=st.floats(-1e3, 1e3)))


@given(ROWS)
def test_range_maps_to_the_unit_box_and_back(rows):
    box = MinMax.of(rows)
    unit = box.normalise(rows)
    assert np.all(np.abs(unit) <= 1 + 1e-9)
    np.testing.assert_allclose(box.denormalise(unit), rows, atol=max(SMALLEST_RANGE, 1e-9))
    constant = np.ptp(rows, axis=0) < SMALLEST_RANGE
    assert np.all(unit[:, constant] == 0)
    assert np.all(unit[:, ~constant].max(axis=0) > 1 - 1e-9) and np.all(unit[:, ~constant].min(axis=0) < -1 + 1e-9)


@given(ROWS)
def test_json_keeps_every_bit(rows):
    stats = Stats(MinMax.of(rows), MinMax.of(rows * 0.1))
    again = Stats.from_json(stats.to_json())
    for a, b in ((stats.action, again.action), (stats.lowdim, again.lowdim)):
        np.testing.assert_array_equal(a.low, b.low)
        np.testing.assert_array_equal(a.high, b.high)


def test_nothing_is_clipped_and_a_constant_comes_back():
    box = MinMax(np.array([0.0, 0.3]), np.array([2.0, 0.3]))
    np.testing.assert_array_equal(box.normalise([4.0, 0.7]), [3.0, 0.0])
    np.testing.assert_array_equal(box.denormalise([-2.0, 0.9]), [-1.0, 0.3])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", json.dumps({"action": {"min": [0], "max": [1]}}), json.dumps({k: {"min": [2], "max": [1]} for k in ("action", "lowdim")})],
)
def test_bad_statistics_are_refused(text):
    with pytest.raises(StatsError, match="no statistics"):
        Stats.from_json(text)


def test_wrong_width_is_refused(tmp_path):
    box = MinMax(np.zeros(3), np.ones(3))
    with pytest.raises(StatsError, match="are for"):
        box.normalise(np.zeros((4, 2)))
    with pytest.raises(StatsError, match=r"missing.json"):
        Stats.load(tmp_path / "missing.json")
    with pytest.raises(StatsError, match="finite"):
        MinMax.of([[np.nan]])
