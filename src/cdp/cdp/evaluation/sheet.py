"""The comparison sheet of an evaluation: tables, a figure, the pictures of every rollout; one page that opens from disk."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cdp.evaluation.compare import HEADINGS, Pair, Row, cells_of, compare, comparison_mapping, pair_text
from cdp.evaluation.results import Evaluation, RolloutResult

PAGE, FIGURE, PICTURES = "comparison.html", "comparison.png", "contact_sheet.png"
_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:24px;max-width:1400px;color:#222} h1{font-size:20px} h2{font-size:16px}
table{border-collapse:collapse;margin:8px 0 16px} th,td{border:1px solid #d0d0cc;padding:4px 8px;text-align:left;font-size:13px;white-space:nowrap}
td:nth-child(9){white-space:normal}
th{background:#f2f2ef} td.good{background:#e3f3e6} td.bad{background:#fae4e1} img{max-width:100%} dt{font-weight:600} p.note{color:#555}
"""
_NOTES = (
    "Intervals are for one policy; whether two differ is what the test of the pair says, which uses that their starts were the same. Its p is not "
    "corrected for the number of pairs.",
    "Time to completion: median (shortest to longest) of the successes only, by the robot's clock from the goal to its end.",
    "Unaided: success without an intervention of the operator. Guard holds: times that the guard stopped following the policy for another reason.",
    "Latency: from the image's stamp to the sending of its chunk, by the policy node's clock; in lock-step simulated time stands still meanwhile.",
)


def write_sheet(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    """Write the page and its figure about the results so far into ``folder``; returns the comparison as a JSON-able mapping.

    The page shows ``contact_sheet.png`` where that is there already. Raises ValueError where there is no result.
    """
    if not evaluation.results:
        raise ValueError("no rollout was finished: there is nothing to compare")
    rows, pairs = compare(evaluation)
    _figure(evaluation, rows).savefig(folder / FIGURE, metadata={"Software": None})
    (folder / PAGE).write_text(_page(evaluation, rows, pairs, (folder / PICTURES).exists()), encoding="utf-8")
    return comparison_mapping(rows, pairs)


def _figure(evaluation: Evaluation, rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(9.0, 1.6 + 0.55 * len(rows)), layout="constrained", dpi=110)
    rate, time = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(rows))[::-1]
    for place, row in zip(places, rows, strict=True):
        low, high = row.wilson_95
        rate.plot([100 * low, 100 * high], [place, place], color="#0072B2", lw=2)
        rate.plot(100 * row.rate, place, "o", color="#0072B2", ms=7)
        rate.text(103, place, f"{row.successes}/{row.rollouts}", va="center", fontsize=9)
        times = [r.duration_s for r in evaluation.of(row.policy) if r.success]
        time.plot(times, np.full(len(times), place), "|", color="#444444", ms=11)
        if times:
            time.plot(float(np.median(times)), place, "o", color="#D55E00", ms=7)
    rate.set(yticks=places, yticklabels=[row.policy for row in rows], xlim=(-3, 118), xticks=range(0, 101, 25), ylim=(-0.6, len(rows) - 0.4))
    rate.set_xlabel("success [%], 95 % Wilson interval")
    time.set_xlabel("time to completion of successes [s], median")
    slowest = max((r.duration_s for r in evaluation.results if r.success), default=1.0)
    time.set_xlim(0, 1.08 * slowest)
    for axes in (rate, time):
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _page(evaluation: Evaluation, rows: Sequence[Row], pairs: Sequence[Pair], pictures: bool) -> str:
    total, done = len(evaluation.plan), len(evaluation.results)
    setup = "".join(f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>" for key, value in evaluation.setup.items())
    bundles = "".join(
        f"<tr><th>{escape(c.name)}</th><td>{escape(c.path)}</td><td><code>{c.sha256[:16]}</code></td></tr>" for c in evaluation.candidates
    )
    judges = ", ".join(sorted({r.judge for r in evaluation.results}))
    parts = [
        f"<h1>Evaluation: {escape(str(evaluation.setup.get('task', '')))}, {done} of {total} rollouts</h1>",
        "" if done == total else "<p><b>Not complete:</b> a comparison of policies with unlike starts says little.</p>",
        _table(HEADINGS, [cells_of(row) for row in rows]),
        "".join(f"<p>{escape(pair_text(pair))}</p>" for pair in pairs),
        f'<img src="{FIGURE}" alt="success rates and times to completion">',
        f"<p>Success was judged by: {escape(judges)}.</p>",
        *(f'<p class="note">{escape(note)}</p>' for note in _NOTES),
        "<h2>By start</h2>",
        _by_start(evaluation),
        f'<h2>First, middle and last view</h2><img src="{PICTURES}" alt="views of every rollout">' if pictures else "",
        f"<h2>Setup</h2><table>{setup}</table><table>{bundles}</table>",
    ]
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title><style>{_STYLE}</style>{"".join(parts)}</html>\n'


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><tr>{head}</tr>{body}</table>"


def _by_start(evaluation: Evaluation) -> str:
    names = [c.name for c in evaluation.candidates]
    found = {(r.start, r.policy): r for r in evaluation.results}
    head = "".join(f"<th>{escape(name)}</th>" for name in ("start", "seed", *names))
    lines = []
    for start, seed in sorted({(r.start, r.seed) for r in evaluation.plan}):
        cells = []
        for name in names:
            r = found.get((start, name))
            text = "" if r is None else _outcome(r)
            kind = "" if r is None else ' class="good"' if r.success else ' class="bad"'
            title = "" if r is None else f' title="{escape(r.recording)}"'
            cells.append(f"<td{kind}{title}>{escape(text)}</td>")
        lines.append(f"<tr><td>{start}</td><td>{seed}</td>{''.join(cells)}</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _outcome(r: RolloutResult) -> str:
    strokes = f", {r.interventions} intervention{'' if r.interventions == 1 else 's'}" if r.interventions else ""
    return f"{'✓' if r.success else '✗'} {r.reason.replace('_', ' ')}, {r.duration_s:.1f} s{strokes}"
