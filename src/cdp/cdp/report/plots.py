"""The plots of a report, drawn from its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from cdp.report.table import pick

Columns = Sequence[Mapping[str, Any]]
VIOLATION, LIPSCHITZ, SOLVER, SPREAD = "violation.png", "lipschitz.png", "solver_error.png", "spread.png"
_MARKERS = "osv^D*Px"


def draw(columns: Columns, folder: Path) -> list[str]:
    """Write the plots of ``columns`` into ``folder``; their file names."""
    matplotlib.use("Agg")
    drawn = {VIOLATION: _violation, LIPSCHITZ: _lipschitz, SOLVER: _solver_error, SPREAD: _spread}
    for name, plot in drawn.items():
        figure = plot(columns)
        figure.savefig(folder / name, dpi=120)
    return list(drawn)


def _colour(index: int) -> str:
    return f"C{index % 10}"


def _figure(axes: int, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.6 * axes, height), layout="constrained")
    return figure, [figure.add_subplot(1, axes, i + 1) for i in range(axes)]


def _violation(columns: Columns) -> Figure:
    """Excess against t: median, 5-95 % band and greatest value; and, beside it, the step factors."""
    figure, (left, right) = _figure(2)
    for i, column in enumerate(columns):
        found = column["measured"]["violation"]
        bands, t = found["excess_at_time"], found["times"]
        main = column["temperature"] == 1.0
        left.plot(t, bands["median"], color=_colour(i), linestyle="-" if main else "--", label=column["name"])
        if main:
            left.fill_between(t, bands["p05"], bands["p95"], color=_colour(i), alpha=0.15)
            left.plot(t, bands["max"], color=_colour(i), linestyle=":", linewidth=1)
        factors = pick(found, "steps.factors") or []
        right.plot(
            range(1, len(factors) + 1), [f["median"] for f in factors], f"{_MARKERS[i % 8]}-" if main else f"{_MARKERS[i % 8]}--", color=_colour(i)
        )
    left.axhline(0.0, color="black", linewidth=0.8)
    if any(column["measured"]["violation"]["times"][0] > 1.0 for column in columns):
        # The time of EDM is its noise level, which spans decades.
        left.set_xscale("log")
    left.invert_xaxis()
    left.set_xlabel("diffusion time t (sampling runs from left to right)")
    left.set_ylabel("λmax(sym J_x0) − limit; above 0 it expands")
    left.set_title("Contraction along sampled paths\n(line: median; band: 5-95 %; dots: greatest)", fontsize=10)
    left.legend(fontsize=8)
    right.axhline(1.0, color="black", linewidth=0.8)
    right.set_yscale("log")
    right.set_xlabel("step of the deployed sampler")
    right.set_ylabel("largest singular value of the step, median")
    right.set_title("Factor of each step\n(above 1 a difference can grow)", fontsize=10)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _lipschitz(columns: Columns) -> Figure:
    """Share of pairs above a ratio, which shows the tail, for tiny and for independent pairs and for the most expanding direction."""
    figure, axes = _figure(3)
    kinds = {"tiny": "tiny pairs, a random direction", "independent": "independent pairs", "sigma_max": "tiny pairs, the most expanding direction"}
    for axis, (kind, title) in zip(axes, kinds.items(), strict=True):
        for i, column in enumerate(columns):
            found = column["measured"]["lipschitz"][kind]
            if found is None:
                continue
            ratios, above = np.maximum(found["quantiles"], 1e-12), 1.0 - np.linspace(0.0, 1.0, 101)
            style = "-" if column["temperature"] == 1.0 else "--"
            above[-1] = 1.0 / max(found["count"], 101)
            axis.step(ratios, above, where="post", color=_colour(i), linestyle=style, label=column["name"])
        axis.axvline(1.0, color="black", linewidth=0.8)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("|Φ(x) − Φ(y)| / |x − y|")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("share of pairs above")
    axes[0].legend(fontsize=8)
    return figure


def _solver_error(columns: Columns) -> Figure:
    """Error against steps, both logarithmic, a line for each solver and column; the resolution of the reference as a dotted line."""
    figure, (axis,) = _figure(1)
    for i, column in enumerate(columns):
        found = column["measured"].get("solver_error")
        if found is None:
            continue
        for j, (solver, errors) in enumerate(found["errors"].items()):
            counts = [int(count) for count in errors]
            # Solvers may lie on each other: the first is drawn full, those after it hollow, dashed and larger.
            look: dict[str, Any] = {"linestyle": "--", "markerfacecolor": "none", "markersize": 7 + 3 * j} if j else {"linestyle": "-"}
            title = f"{column['name']}, {solver}"
            axis.plot(counts, [e["rms"] for e in errors.values()], marker=_MARKERS[j % 8], color=_colour(i), label=title, **look)
        axis.axhline(found["resolution"], color=_colour(i), linestyle=":", linewidth=1)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks([1, 2, 3, 5, 10, 20, 50], labels=["1", "2", "3", "5", "10", "20", "50"])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("sampler steps k")
    axis.set_ylabel("rms of Φk − Φ200, normalised action")
    axis.set_title("Solver error (dotted: resolution of the reference)", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def _spread(columns: Columns) -> Figure:
    """Median over the observations of the standard deviation within and between modes; a dot for each observation; the mean number of modes."""
    figure, (axis,) = _figure(1)
    places = np.arange(len(columns))
    for shift, part, colour in ((-0.2, "within", "C0"), (0.2, "between", "C1")):
        axis.bar(places + shift, [c["measured"]["spread"][part]["median"] for c in columns], 0.38, color=colour, alpha=0.6, label=f"{part} modes")
        for place, column in zip(places, columns, strict=True):
            dots = column["measured"]["spread"]["per_observation"][part]
            axis.plot(np.linspace(-0.15, 0.15, len(dots)) + place + shift, dots, ".", color=colour, markersize=3)
    labels = [f"{c['name']}\nmodes: {c['measured']['spread']['modes']['mean']:.3g}" for c in columns]
    axis.set_xticks(places, labels=labels, fontsize=8, rotation=20 if len(columns) > 3 else 0)
    axis.set_ylabel("std over seeds, rms of the normalised action")
    axis.set_title("Spread over noise seeds (bar: median; dot: one observation)", fontsize=10)
    axis.set_ylim(bottom=0.0)
    axis.legend(fontsize=8)
    return figure
