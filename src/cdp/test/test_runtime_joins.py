"""Chunks in absolute time and what a new one takes from them: closed forms, no network."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.actions import ROT6D
from cdp.data.spec import ObservationSpec
from cdp.geometry import matrix_to_rot6d, rot6d_to_matrix, rotvec_to_matrix
from cdp.runtime import InferenceError, JoinConfig
from cdp.runtime.joins import TimedChunk, ensemble, frozen_rows, soft_mask
from cdp.runtime.planner import Job, Planner
from cdp.runtime.policy import ActionPrediction

MS = 1_000_000
DT = 100 * MS


def rows(values, angle=0.0):
    values = np.asarray(values, dtype=float)
    made = np.zeros((len(values), 10))
    made[:, 0] = values
    made[:, ROT6D] = matrix_to_rot6d(rotvec_to_matrix([0.0, 0.0, angle]))
    return made


def chunk(start_ms, values, angle=0.0):
    made = rows(values, angle)
    return TimedChunk(start_ms * MS, DT, made, made.astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(shift_ms=st.integers(0, 900), count=st.integers(2, 12))
def test_a_straight_line_says_the_same_at_any_shift(shift_ms, count):
    # x = t: what the chunk says of later times is those times, between rows too, and its last row after its end.
    old = chunk(0, 0.1 * np.arange(count))
    found = old.overlap(shift_ms * MS, count)
    times = 1e-3 * shift_ms + 0.1 * np.arange(count)
    reached = times <= 0.1 * (count - 1) + 1e-9
    if not reached.any():
        assert found is None
        return
    assert found.rows == reached.sum()
    np.testing.assert_allclose(found.values[:, 0], np.minimum(times, 0.1 * (count - 1)), atol=1e-6)


def test_a_shift_by_whole_rows_takes_them_bit_for_bit_in_spite_of_jitter():
    values = np.random.default_rng(0).normal(size=8).astype(np.float32)
    old = chunk(0, values)
    for jitter_ns in (0, 90_000, -90_000):
        found = old.overlap(3 * DT + jitter_ns, 8)
        assert found.rows == 5
        np.testing.assert_array_equal(found.values[:5, 0], values[3:])


def test_the_mask_is_one_then_falls_then_is_nothing():
    mask = soft_mask(16, 12, 2)
    assert np.all(mask[:2] == 1.0) and np.all(mask[12:] == 0.0)
    assert np.all(np.diff(mask[1:13]) < 0.0) and 0.0 < mask[11] < 0.1
    c = (12 - 5) / (12 - 2 + 1)
    assert mask[5] == pytest.approx(c * (math.exp(c) - 1) / (math.e - 1))
    assert np.all(soft_mask(4, 0, 3) == 0.0) and np.all(soft_mask(4, 2, 9) == [1.0, 1.0, 0.0, 0.0])


@pytest.mark.parametrize(("delay_ms", "frozen"), [(0, 0), (1, 1), (100, 1), (101, 2), (200, 2)])
def test_the_row_that_is_headed_for_when_the_chunk_comes_is_frozen_too(delay_ms, frozen):
    assert frozen_rows(delay_ms * MS, DT) == frozen


def test_the_ensemble_weighs_by_age_and_only_where_a_chunk_reaches():
    new, old = chunk(400, np.zeros(8)), chunk(0, np.ones(8))
    share = math.exp(-2.0 * 0.4)
    mean = ensemble(new, [old], 2.0)[:, 0]
    np.testing.assert_allclose(mean, np.where(np.arange(8) < 4, share / (1 + share), 0.0))
    np.testing.assert_allclose(ensemble(new, [old], 0.0)[:4, 0], 0.5)
    np.testing.assert_array_equal(ensemble(new, [], 2.0), new.rows)


def test_the_mean_of_two_rotations_is_the_one_half_way_and_opposite_ones_have_none():
    mean = ensemble(chunk(0, np.zeros(4), 0.3), [chunk(0, np.zeros(4), -0.1)], 0.0)
    np.testing.assert_allclose(rot6d_to_matrix(mean[:, ROT6D]), np.broadcast_to(rotvec_to_matrix([0, 0, 0.1]), (4, 3, 3)), atol=1e-12)
    with pytest.raises(ValueError, match="6-D rotation"):
        ensemble(chunk(0, np.zeros(4), 0.0), [chunk(0, np.zeros(4), math.pi)], 0.0)


class Recorded:
    """A runtime that plans constants, one higher each time, and keeps what it was asked."""

    def __init__(self, angles=(0.0,)):
        self.bundle = SimpleNamespace(policy=SimpleNamespace(observation=ObservationSpec(), horizon=8))
        self.asked, self.resets, self.angles = [], 0, angles

    def reset(self, seed=None):
        self.resets += 1

    def act(self, window, overlap=None, given=None):
        made = rows(np.full(8, float(len(self.asked))), self.angles[len(self.asked) % len(self.angles)])
        self.asked.append((overlap, given))
        return ActionPrediction(made, made.astype(np.float32), 1.0, 1.0)


def test_hard_joins_ask_for_nothing_and_change_nothing():
    runtime = Recorded()
    planner = Planner(runtime)
    for k in range(3):
        prediction = planner.plan(Job(1, 4 * k * DT, None, 0))
        np.testing.assert_array_equal(prediction.rows[:, 0], k)
    assert [given for _, given in runtime.asked] == [None] * 3
    assert [overlap is None for overlap, _ in runtime.asked] == [True, False, False]


def test_rtc_is_given_the_last_chunk_at_the_new_rows_times_and_the_delays_mask():
    runtime = Recorded()
    planner = Planner(runtime, JoinConfig("rtc", products=2))
    planner.plan(Job(1, 0, None, 0))
    planner.plan(Job(1, 3 * DT, None, 150 * MS))
    given = runtime.asked[-1][1]
    np.testing.assert_array_equal(given.weights, soft_mask(8, 5, 2))
    assert np.all(given.values[:, 0] == 0.0) and given.products == 2
    planner.join = JoinConfig("rtc", delay_s=0.0)
    planner.plan(Job(1, 6 * DT, None, 150 * MS))
    np.testing.assert_array_equal(runtime.asked[-1][1].weights, soft_mask(8, 5, 0))
    planner.plan(Job(1, 60 * DT, None, 0))
    assert runtime.asked[-1] == (None, None), "the last chunk ended long before"


def test_the_ensemble_means_what_was_sampled_and_not_its_own_means():
    planner = Planner(Recorded(), JoinConfig("ensemble", decay_per_s=0.0))
    planned = [planner.plan(Job(1, 2 * k * DT, None, 0)) for k in range(4)]
    # Row 0 of chunk 3 is reached by all four (8 rows, shifted by 6): the mean of 0, 1, 2 and 3.
    np.testing.assert_allclose(planned[3].rows[:, 0], [1.5, 1.5, 2.0, 2.0, 2.5, 2.5, 3.0, 3.0])
    assert np.all(planned[3].normalised[:, 0] == 3.0)


def test_another_episode_starts_the_noise_and_forgets_and_a_fresh_job_only_forgets():
    runtime = Recorded()
    planner = Planner(runtime, JoinConfig("rtc"))
    planner.plan(Job(1, 0, None, 0))
    planner.plan(Job(2, DT, None, 0))
    assert runtime.resets == 2 and runtime.asked[-1] == (None, None)
    planner.plan(Job(2, 2 * DT, None, 0, fresh=True))
    assert runtime.resets == 2 and runtime.asked[-1] == (None, None)
    planner.plan(Job(2, 3 * DT, None, 0))
    assert runtime.asked[-1][1] is not None


def test_rotations_that_cancel_out_are_said():
    planner = Planner(Recorded(angles=(0.0, math.pi)), JoinConfig("ensemble", decay_per_s=0.0))
    planner.plan(Job(1, 0, None, 0))
    with pytest.raises(InferenceError, match="set the join to hard"):
        planner.plan(Job(1, DT, None, 0))
