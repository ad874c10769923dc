"""The verdict of a row of readings: it takes several to change it, and less than what made it uncertain to end it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.runtime.monitor import Figures, MonitorReading
from cdp.runtime.monitor_figures import ActionSpreadSI
from cdp.runtime.monitor_verdict import Judge, VerdictConfig

FIGURES = Figures(0.1, ActionSpreadSI(0.001, 0.01, 0.0), 0.1, 0.4, 9.0)


def reading(share, name="distance"):
    shares = {"extent": 0.1, "distance": 0.1, "spread": 0.1, "lipschitz": 0.1, name: share}
    return MonitorReading(FIGURES, shares, 0.5, 1.0)


def verdicts(judge, shares):
    return [judge.judge(reading(share)).uncertain for share in shares]


def test_it_takes_so_many_in_a_row_and_one_below_begins_anew():
    judge = Judge(VerdictConfig(after=3))
    assert verdicts(judge, [1.1, 1.1, 0.5, 1.1, 1.1, 1.1]) == [False] * 5 + [True]
    assert verdicts(judge, [0.5, 0.5, 1.1, 0.5, 0.5, 0.5]) == [True] * 5 + [False]


def test_between_resume_and_limit_nothing_changes():
    judge = Judge(VerdictConfig(factor=2.0, resume=0.5, after=1))
    assert verdicts(judge, [1.9, 2.1, 1.9, 1.1, 1.0, 1.5, 2.1]) == [False, True, True, True, False, False, True]


def test_nan_counts_against_and_never_for():
    judge = Judge(VerdictConfig(after=2))
    assert verdicts(judge, [math.nan, math.nan]) == [False, True]
    assert verdicts(judge, [0.1, math.nan, 0.1, 0.1]) == [True, True, True, False]


def test_without_thresholds_nothing_is_ever_uncertain():
    judge = Judge(VerdictConfig(after=1))
    assert not judge.judge(MonitorReading(FIGURES, {}, math.nan, 1.0)).uncertain


@pytest.mark.parametrize(
    ("name", "said"), [("distance", "unlike the training data"), ("extent", "unlike"), ("spread", "noise decides"), ("lipschitz", "noise")]
)
def test_the_reason_names_what_it_is(name, said):
    verdict = Judge(VerdictConfig(after=1)).judge(reading(1.84, name))
    assert verdict.uncertain and said in verdict.reason and "1.84 times its threshold" in verdict.reason


def test_a_new_episode_begins_certain():
    judge = Judge(VerdictConfig(after=2))
    verdicts(judge, [3.0, 3.0, 3.0])
    judge.clear()
    assert not judge.verdict.uncertain and verdicts(judge, [3.0]) == [False]


@given(st.lists(st.floats(0.0, 3.0), max_size=60), st.integers(1, 5))
def test_it_never_changes_twice_within_as_many_readings(shares, after):
    changes, found, last = [], verdicts(Judge(VerdictConfig(after=after)), shares), False
    for i, uncertain in enumerate(found):
        if uncertain is not last:
            changes.append(i)
        last = uncertain
    assert all(b - a >= after for a, b in zip([-1, *changes], changes, strict=False))
