"""The comparison's figures against closed forms."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.evaluation.compare import cells_of, clopper_pearson_interval, compare, mcnemar_p, row_of, text_table
from cdp.evaluation.plan import Candidate, make_plan
from cdp.evaluation.results import Evaluation, RolloutResult
from cdp.evaluation.sheet import write_sheet


def result(index, policy, start, success, duration_s=5.0, **fields):
    return RolloutResult(index, policy, start, 100 + start, success, "operator", "success" if success else "timeout", "", duration_s, **fields)


def evaluation(path, outcomes):
    """``outcomes``: name to a list of successes by start."""
    names = list(outcomes)
    plan = make_plan(names, max(map(len, outcomes.values())), 100, 0)
    results = [result(r.index, r.policy, r.start, outcomes[r.policy][r.start]) for r in plan if r.start < len(outcomes[r.policy])]
    return Evaluation(path / "evaluation.json", {"task": "slide"}, tuple(Candidate(n, f"models/{n}", "0" * 64) for n in names), plan, results)


def test_the_exact_interval_at_its_ends_is_a_root():
    # No success in n: (1 - high)^n = 0.025.
    for n in (1, 5, 20):
        low, high = clopper_pearson_interval(0, n)
        assert low == 0.0 and high == pytest.approx(1 - 0.025 ** (1 / n))
        low, high = clopper_pearson_interval(n, n)
        assert high == 1.0 and low == pytest.approx(0.025 ** (1 / n))


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_exact_interval_leaves_half_of_the_error_on_each_side(counts):
    k, n = counts
    low, high = clopper_pearson_interval(k, n)

    def tail(p, ks):
        return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in ks)

    assert low <= k / n <= high
    if k > 0:
        assert tail(low, range(k, n + 1)) == pytest.approx(0.025, rel=1e-6)
    if k < n:
        assert tail(high, range(k + 1)) == pytest.approx(0.025, rel=1e-6)


@given(st.integers(0, 12), st.integers(0, 12))
def test_the_pairs_p_is_the_count_of_coin_rows_as_lopsided(b, c):
    n = b + c
    lopsided = sum(math.comb(n, k) for k in range(n + 1) if abs(k - n / 2) >= abs(b - n / 2))
    assert mcnemar_p(b, c) == pytest.approx(lopsided / 2**n) and mcnemar_p(b, c) == mcnemar_p(c, b)


def test_counts_that_cannot_be_are_refused():
    for k, n in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError):
            clopper_pearson_interval(k, n)


def test_a_row_counts_what_happened():
    row = row_of(
        "a",
        [
            result(0, "a", 0, True, 4.0, chunks=10, late_chunks=1, latency_max_ms=30.0),
            result(1, "a", 1, True, 8.0, interventions=2, guard_holds=1),
            result(2, "a", 2, False, 25.0, chunks=10, redone=1, latency_max_ms=50.0),
            result(3, "a", 3, True, 5.0),
        ],
    )
    assert (row.rollouts, row.successes, row.unaided, row.interventions, row.guard_holds, row.redone) == (4, 3, 2, 2, 1, 1)
    assert row.rate == 0.75 and row.completion_s == (5.0, 4.0, 8.0), "the time of a failure is no time to completion"
    assert row.late_chunk_share == 0.05 and row.latency_max_ms == 50.0 and row.reasons == {"success": 3, "timeout": 1}
    assert cells_of(row)[1:3] == ("3/4 = 75 %", "30 to 95 %")


def test_pairs_are_matched_by_their_start(tmp_path):
    outcomes = {"a": [True, True, True, False, True, True], "b": [True, False, False, True, False, False], "c": [True, False]}
    rows, pairs = compare(evaluation(tmp_path, outcomes))
    assert [row.policy for row in rows] == ["a", "b", "c"]
    assert [(p.first, p.second) for p in pairs] == list(itertools.combinations("abc", 2))
    assert (pairs[0].starts, pairs[0].only_first, pairs[0].only_second) == (6, 4, 1)
    assert pairs[0].p == pytest.approx(2 * (1 + 5) / 2**5)
    assert (pairs[1].starts, pairs[1].only_first, pairs[1].only_second, pairs[1].p) == (2, 1, 0, 1.0)
    assert len({line.index("success") for line in text_table(rows, pairs).splitlines()[:1]}) == 1


def test_the_sheet_tells_all_and_says_when_it_is_not_complete(tmp_path):
    done = evaluation(tmp_path, {"a": [True, False], "b<i>": [False, True]})
    mapping = write_sheet(done, tmp_path)
    page = (tmp_path / "comparison.html").read_text()
    assert mapping["pairs"][0]["p"] == 1.0 and len(mapping["policies"]) == 2
    assert page.count("✓ success, 5.0 s") == page.count("✗ timeout, 5.0 s") == 2
    assert "4 of 4 rollouts" in page and "Not complete" not in page and "<i>" not in page and (tmp_path / "comparison.png").stat().st_size > 5000
    done.results.pop()
    write_sheet(done, tmp_path)
    assert "Not complete" in (tmp_path / "comparison.html").read_text()
    done.results.clear()
    with pytest.raises(ValueError, match="no rollout"):
        write_sheet(done, tmp_path)
