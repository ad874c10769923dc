"""Motions made of chunks, by hand: what the figures of the study have to say of them."""

import numpy as np
import pytest

from cdp.runtime.joins import TimedChunk
from cdp.runtime.worker import Outcome
from cdp.studies.joins_measures import join_figures, pooled, seed_spread
from cdp.studies.joins_replay import DelayedWorker, Motion, Sent, made_up

DT = 100_000_000
ROWS = 8


def sent(at_ns, start_ns, x):
    rows = np.zeros((len(x), 10))
    rows[:, 0] = x
    return Sent(at_ns, TimedChunk(start_ns, DT, rows, rows.astype(np.float32)))


def line(start_ns, offset=0.0, speed=0.2):
    return offset + speed * (start_ns + DT * np.arange(ROWS)) / 1e9


def recording(rows=9):
    made = made_up(0, 8, rows)
    return type(made)(DT * np.arange(rows, dtype=np.int64), made.image, made.pose, made.joints, made.width, np.zeros((rows, 3)))


def test_chunks_of_one_straight_line_join_without_a_trace():
    parts = [sent(0, DT, line(DT)), sent(4 * DT, 5 * DT, line(5 * DT))]
    found = join_figures(parts, recording())
    assert found["jump_m"] == pytest.approx([0.0], abs=1e-15)
    assert np.all(found["jerk_join"] < 1e-9)


def test_an_offset_is_the_jump_and_its_step_the_jerk():
    offset = 0.01
    parts = [sent(0, DT, line(DT)), sent(4 * DT, 5 * DT, line(5 * DT, offset))]
    found = join_figures(parts, recording())
    assert found["jump_m"] == pytest.approx([offset])
    # From rest at the first row at 0, on the line from DT; at 4 DT still the old chunk, from 5 DT on the new: a step of `offset` in the samples.
    assert sorted(found["jerk_join"]) == pytest.approx(sorted(offset * np.array([1.0, 2.0, 1.0]) / 0.1**3), rel=1e-6)
    assert len(found["jerk_within"]) + len(found["jerk_join"]) == 9 - 3


def test_the_arm_goes_from_where_it_is_sent_to_the_first_row_that_is_ahead():
    motion = Motion([sent(0, DT, np.zeros(ROWS)), sent(450_000_000, 6 * DT, np.full(ROWS, 0.3))])
    at = np.array([0, 449_999_999, 450_000_000, 525_000_000, 6 * DT, 50 * DT])
    np.testing.assert_allclose(motion.position(at)[:, 0], [0.0, 0.0, 0.0, 0.15, 0.3, 0.3], atol=1e-9)
    np.testing.assert_array_equal(motion.part(at), [0, 0, 1, 1, 1, 1])


def test_figures_are_root_mean_squares_over_all_recordings():
    one = {"jump_m": np.array([0.003]), "jerk_join": np.array([2.0]), "jerk_within": np.array([1.0]), "error_m": np.array([0.0, 0.002])}
    other = {"jump_m": np.array([0.004]), "jerk_join": np.array([2.0, 2.0]), "jerk_within": np.array([1.0]), "error_m": np.array([0.002, 0.0])}
    found = pooled([one, other])
    assert found["jump_mm"] == pytest.approx(np.sqrt(12.5)) and found["jump_max_mm"] == pytest.approx(4.0)
    assert found["jerk_ratio"] == pytest.approx(2.0) and found["error_mm"] == pytest.approx(np.sqrt(2.0))


def test_the_spread_over_seeds_is_the_distance_from_their_mean():
    apart = [[[sent(0, DT, np.full(ROWS, x))]] for x in (-0.001, 0.001)]
    assert seed_spread(apart) == pytest.approx(1.0)
    assert seed_spread([apart[0], apart[0]]) == 0.0


def test_a_delayed_outcome_comes_when_it_is_due_and_not_before():
    class Job:
        stamp_ns = 1000

    worker = DelayedWorker(lambda job: "a chunk", 500)
    worker.submit(Job)
    assert worker.next_ns == 1500 and worker.take(1499) == []
    assert worker.take(1500) == [Outcome(Job, "a chunk")] and worker.next_ns is None
