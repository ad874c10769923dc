"""Policies side by side: success with intervals, time to completion, interventions, and exact tests between pairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.special import bdtr, betaincinv

from cdp.evaluation.results import Evaluation, RolloutResult
from cdp.statistics import wilson_interval


def clopper_pearson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a success rate by inverting the binomial test (Clopper and Pearson 1934); never covers less than ``confidence``.

    Raises ValueError for counts that cannot be.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials cannot be")
    tail = 0.5 * (1.0 - confidence)
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1.0 - tail))
    return low, high


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact p of McNemar's test: as many of the discordant pairs on one side, were each side as likely (McNemar 1947, binomial form)."""
    discordant = only_first + only_second
    return min(1.0, 2.0 * float(bdtr(min(only_first, only_second), discordant, 0.5))) if discordant else 1.0


@dataclass(frozen=True)
class Row:
    """One policy. ``unaided``: successes without an intervention. Completion [s] is of successes: median, shortest, longest; None without any."""

    policy: str
    rollouts: int
    successes: int
    rate: float
    wilson_95: tuple[float, float]
    clopper_pearson_95: tuple[float, float]
    unaided: int
    completion_s: tuple[float, float, float] | None
    interventions: int
    guard_holds: int
    late_chunk_share: float | None
    latency_max_ms: float | None
    reasons: dict[str, int]
    redone: int


@dataclass(frozen=True)
class Pair:
    """Two policies from the same starts: how many starts only one of them solved, and McNemar's exact p."""

    first: str
    second: str
    starts: int
    only_first: int
    only_second: int
    p: float


def row_of(policy: str, results: list[RolloutResult]) -> Row:
    """The figures of one policy with at least one rollout."""
    successes = [r for r in results if r.success]
    times = [r.duration_s for r in successes]
    chunks = sum(r.chunks for r in results)
    latencies = [r.latency_max_ms for r in results if r.latency_max_ms is not None]
    return Row(
        policy,
        len(results),
        len(successes),
        len(successes) / len(results),
        wilson_interval(len(successes), len(results)),
        clopper_pearson_interval(len(successes), len(results)),
        sum(not r.interventions for r in successes),
        (float(np.median(times)), min(times), max(times)) if times else None,
        sum(r.interventions for r in results),
        sum(r.guard_holds for r in results),
        sum(r.late_chunks for r in results) / chunks if chunks else None,
        max(latencies) if latencies else None,
        dict(Counter(r.reason for r in results).most_common()),
        sum(r.redone for r in results),
    )


def compare(evaluation: Evaluation) -> tuple[list[Row], list[Pair]]:
    """Rows of the policies that have results, in the order given, and all pairs of them."""
    results = {c.name: found for c in evaluation.candidates if (found := evaluation.of(c.name))}
    return [row_of(name, found) for name, found in results.items()], [_pair(a, results[a], b, results[b]) for a, b in combinations(results, 2)]


def _pair(first: str, results: list[RolloutResult], second: str, others: list[RolloutResult]) -> Pair:
    there = {r.start: r.success for r in others}
    both = [(r.success, there[r.start]) for r in results if r.start in there]
    one, other = sum(a and not b for a, b in both), sum(b and not a for a, b in both)
    return Pair(first, second, len(both), one, other, mcnemar_p(one, other))


def comparison_mapping(rows: list[Row], pairs: list[Pair]) -> dict[str, Any]:
    """JSON-able mapping of a comparison."""
    return {"policies": [asdict(row) for row in rows], "pairs": [asdict(pair) for pair in pairs]}


HEADINGS = (
    "policy",
    "success",
    "95 % Wilson",
    "95 % exact",
    "unaided",
    "completion",
    "interventions",
    "guard holds",
    "ended by",
    "latency max",
)


def cells_of(row: Row) -> tuple[str, ...]:
    """The texts of one row under :data:`HEADINGS`."""
    time = "–" if row.completion_s is None else "{:.1f} s ({:.1f} to {:.1f})".format(*row.completion_s)
    return (
        row.policy,
        f"{row.successes}/{row.rollouts} = {100 * row.rate:.0f} %",
        "{:.0f} to {:.0f} %".format(*(100 * v for v in row.wilson_95)),
        "{:.0f} to {:.0f} %".format(*(100 * v for v in row.clopper_pearson_95)),
        f"{row.unaided}/{row.rollouts}",
        time,
        str(row.interventions),
        str(row.guard_holds),
        ", ".join(f"{reason.replace('_', ' ')} {count}" for reason, count in row.reasons.items()),
        "–" if row.latency_max_ms is None else f"{row.latency_max_ms:.0f} ms",
    )


def pair_text(pair: Pair) -> str:
    """One sentence about a pair."""
    return (
        f"{pair.first} against {pair.second} from {pair.starts} equal starts: {pair.only_first} solved by the first alone, {pair.only_second} by the "
        f"second alone, McNemar exact p = {pair.p:.3g}"
    )


def text_table(rows: list[Row], pairs: list[Pair]) -> str:
    """The comparison for a terminal."""
    table = [HEADINGS, *(cells_of(row) for row in rows)]
    widths = [max(len(line[k]) for line in table) for k in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return "\n".join([*lines, *(pair_text(pair) for pair in pairs)])
