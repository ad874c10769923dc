"""The figures of the study ``gamma``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.ticker import NullFormatter

from cdp.studies.plots import STYLES, panels, save

_AGAINST = {"hits_5": "hit rate, 5 steps", "coverage": "coverage of the modes", "within_std": "std within a mode"}
_COLOURS = ("#CC79A7", "#009E73", "#D55E00", "#882255")
_CHEAP = {"lipschitz_median": "Lipschitz constant, median", "hits_5": "hit rate, 5 steps", "coverage": "coverage of the modes"}


def draw_front(sweeps: Mapping[str, Any], automatic: Mapping[str, bool], exact: Mapping[str, float], path: Path) -> None:
    """One row a penalty: figures against the median Lipschitz constant, fixed weights joined, automatic ones apart."""
    figure, axes = panels(len(sweeps), len(_AGAINST), size=4.2, share=False, height=3.6)
    for row, (label, sweep) in zip(axes, sweeps.items(), strict=True):
        for axis, (key, words) in zip(row, _AGAINST.items(), strict=True):
            fixed = [name for name, auto in automatic.items() if not auto]
            x, y = ([sweep[name][figure_key]["mean"] for name in fixed] for figure_key in ("lipschitz_median", key))
            axis.plot(x, y, color=STYLES[label][0], marker=STYLES[label][1], linewidth=1, label=f"{label}, fixed")
            for place, name in enumerate(fixed):
                axis.annotate(name, (x[place], y[place]), textcoords="offset points", xytext=(4, 5), fontsize=9)
            for colour, name in zip(_COLOURS, (name for name, auto in automatic.items() if auto), strict=True):
                each = sweep[name]
                axis.errorbar(
                    each["lipschitz_median"]["mean"], each[key]["mean"], each[key]["std"], color=colour, marker="*", markersize=11, ls="", label=name
                )
            axis.set_xscale("log")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_xlabel("local Lipschitz constant, median")
            axis.set_ylabel(words)
            axis.grid(alpha=0.3)
            if key == "within_std":
                axis.set_yscale("log")
                axis.axhline(exact[key], color=STYLES["exact"][0], linestyle=":")
                axis.annotate("exact", (0.02, exact[key]), xycoords=("axes fraction", "data"), va="bottom", color=STYLES["exact"][0])
            else:
                axis.set_ylim(0.0, 1.05)
        row[0].legend(fontsize=8)
    save(figure, path)


def draw_trace(sweeps: Mapping[str, Any], path: Path) -> None:
    """The weight over the updates, one panel a penalty, one line a seed."""
    figure, axes = panels(1, len(sweeps), size=4.8, share=False, height=3.4)
    for axis, (label, sweep) in zip(axes[0], sweeps.items(), strict=True):
        for colour, (name, each) in zip(_COLOURS, sweep.items(), strict=True):
            for seed, line in enumerate(each["trace"]["gamma"]):
                axis.plot(each["trace"]["update"], line, color=colour, linewidth=1.2, label=name if seed == 0 else None)
        axis.set_title(label)
        axis.set_xlabel("updates")
        axis.set_ylabel("gamma")
        axis.set_ylim(bottom=0.0)
        axis.grid(alpha=0.3)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    save(figure, path)


def draw_cheap(costs: Mapping[str, Any], path: Path) -> None:
    """Figures of the default penalty, one place on the axis for each cost."""
    figure, axes = panels(1, len(_CHEAP), size=4.4, share=False, height=3.6)
    colour, marker = STYLES["cdp-saturating"]
    for axis, (key, words) in zip(axes[0], _CHEAP.items(), strict=True):
        for place, (name, each) in enumerate(costs.items()):
            style = STYLES["diffusion"] if name == "no penalty" else (colour, marker)
            axis.errorbar(place, each[key]["mean"], each[key]["std"], color=style[0], marker=style[1], capsize=3)
        axis.set_xticks(range(len(costs)), [name.replace(", ", "\n") for name in costs], rotation=30, fontsize=8)
        axis.set_ylabel(words)
        axis.grid(alpha=0.3)
        if key == "lipschitz_median":
            axis.set_yscale("log")
        else:
            axis.set_ylim(0.0, 1.05)
    save(figure, path)
