"""The figures of the study ``cross-schedule``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cdp.diffusion.paths import PathConfig
from cdp.studies.plots import STYLES, panels, save

_COLUMNS = {"hits_5": "hit rate, 5 steps", "lipschitz_median": "Lipschitz constant, median", "within_std": "std within a mode"}
_CROSS = {"hits_5": "hit rate, 5 steps", "hits_50": "hit rate, 50 steps", "lipschitz_median": "log10 of the median Lipschitz constant"}
_SHOWN_STEPS = 5


def draw_own(paths: Mapping[str, PathConfig], own: Mapping[str, Any], exact: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """The noise levels of each path, and the figures of each policy along its own one."""
    figure, axes = panels(1, 1 + len(_COLUMNS), size=3.6, share=False)
    _levels(axes[0][0], paths)
    places = np.arange(len(paths))
    for axis, (key, label) in zip(axes[0][1:], _COLUMNS.items(), strict=True):
        for shift, policy in zip((-0.12, 0.12), next(iter(own.values())), strict=True):
            colour, marker = STYLES[policy]
            each = [own[name][policy][key] for name in paths]
            axis.errorbar(
                places + shift, [f["mean"] for f in each], [f["std"] for f in each], color=colour, marker=marker, ls="", capsize=3, label=policy
            )
        axis.plot(places, [exact[name][key] for name in paths], STYLES["exact"][1], color=STYLES["exact"][0], label="exact")
        axis.set_xticks(places, [name.replace(" ", "\n") for name in paths])
        axis.set_xlim(-0.5, len(paths) - 0.5)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        if key == "hits_5":
            axis.set_ylim(0.0, 1.02)
        else:
            axis.set_yscale("log")
    handles, labels = axes[0][1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    save(figure, path)


def _levels(axis: Axes, paths: Mapping[str, PathConfig]) -> None:
    uniform = np.linspace(0.0, 1.0, 2001)[1:-1]
    for row, (name, path) in enumerate(paths.items()):
        levels = path.log_snr(path.training_time(uniform))
        for low, high, width in ((0.05, 0.95, 3), (0.25, 0.75, 9)):
            axis.plot(np.quantile(levels, (low, high)), (row, row), color="#56B4E9", linewidth=width, solid_capstyle="butt")
        times = path.time_grid(_SHOWN_STEPS)[:-1]
        shown = [float(path.log_snr(t)) if path.alpha(t) > 0.0 else -np.inf for t in times.tolist()]
        axis.plot(np.clip(shown, -5.6, None), [row] * len(shown), "|", color="#D55E00", markersize=16, markeredgewidth=2)
        axis.annotate(name, (-5.8, row - 0.25), fontsize=9)
    axis.set_ylim(len(paths) - 0.5, -0.6)
    axis.set_xlim(-6.0, 7.5)
    axis.set_yticks([])
    axis.set_xlabel("ln(alpha / sigma): noise to data")
    axis.set_title("levels trained at; steps of 5", fontsize=10)


def draw_cross(names: Sequence[str], policies: Sequence[str], cross: Mapping[str, Any], path: Path) -> None:
    """One matrix for each policy and figure: trained on (rows), sampled along (columns)."""
    figure, axes = panels(len(policies), len(_CROSS), size=4.0, share=True, height=3.4)
    for column, (key, label) in enumerate(_CROSS.items()):
        values = {policy: np.array([[cross[s][policy][t][key]["mean"] for t in names] for s in names]) for policy in policies}
        if key == "lipschitz_median":
            values = {policy: np.log10(each) for policy, each in values.items()}
        low, high = (0.0, 1.0) if key.startswith("hits") else (min(v.min() for v in values.values()), max(v.max() for v in values.values()))
        for row, policy in enumerate(policies):
            axis = axes[row][column]
            axis.imshow(values[policy], cmap="cividis", vmin=low, vmax=high, aspect="auto")
            for (i, j), value in np.ndenumerate(values[policy]):
                bright = value > low + 0.6 * (high - low)
                axis.annotate(f"{value:.2f}", (j, i), ha="center", va="center", color="black" if bright else "white", fontsize=11)
            axis.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
            axis.set_yticks(range(len(names)), names)
            if row == 0:
                axis.set_title(label, fontsize=11)
        axes[-1][column].set_xlabel("sampled along")
    for row, policy in enumerate(policies):
        axes[row][0].set_ylabel(f"{policy}\ntrained on")
    save(figure, path)
