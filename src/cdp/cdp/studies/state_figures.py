"""The figures of the study ``state-sensitivity``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cdp.studies.plots import STYLES, panels, save
from cdp.studies.state_measures import Walk
from cdp.studies.toy_task import ToyTask, mode_of

_COLUMNS = {
    "along_median": "gain along the circle, median",
    "along_p999": "gain along the circle, 99.9 %",
    "error": "slope error, median",
    "switches": "switches of the mode in a turn",
    "change_0.03": "change of the action, state noise 0.03",
}
_LOGARITHMIC = ("along_p999", "error")
_WALKS = 4


def draw_gains(policies: Mapping[str, Any], gain: float, task: ToyTask, path: Path) -> None:
    """One panel a figure, one place for each policy, and the expert's own."""
    figure, axes = panels(1, len(_COLUMNS), size=3.5, share=False, height=4.2)
    own = {"along_median": gain, "error": None, "switches": 2.0 * task.turns, "change_0.03": 0.03 * gain}
    for axis, (key, words) in zip(axes[0], _COLUMNS.items(), strict=True):
        for place, (name, each) in enumerate(policies.items()):
            colour, marker = STYLES[name.partition(",")[0]]
            axis.errorbar(place, each[key]["mean"], each[key]["std"], color=colour, marker=marker, capsize=3)
        reference = own.get(key)
        if reference is not None:
            axis.axhline(reference, color="#7f7f7f", linestyle=":")
        axis.set_xticks(range(len(policies)), [name.replace(", ", "\n") for name in policies], rotation=60, ha="right", fontsize=9)
        axis.set_ylabel(words)
        axis.grid(alpha=0.3)
        if key in _LOGARITHMIC:
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0.0)
    figure.suptitle("dotted: the expert's own (of switches, the exact denoiser's)", fontsize=10)
    save(figure, path)


def draw_walks(walks: Mapping[str, Walk], task: ToyTask, path: Path) -> None:
    """First coordinate of the action over one turn of the state, one panel a policy, one line a noise."""
    figure, axes = panels(1, len(walks), size=3.9, height=3.2)
    for axis, (name, walk) in zip(axes[0], walks.items(), strict=True):
        degrees = (walk.angles * (180.0 / math.pi)).numpy()
        mode = mode_of(task, torch.stack([torch.cos(walk.angles), torch.sin(walk.angles)], dim=1))[:, 0].numpy()
        for sign in (1.0, -1.0):
            axis.plot(degrees, sign * mode, ":", color="#7f7f7f", linewidth=1.5)
        for colour, line in zip(("#0072B2", "#D55E00", "#009E73", "#CC79A7"), walk.actions[:_WALKS], strict=False):
            axis.plot(degrees, line[:, 0].numpy(), color=colour, linewidth=1.3)
        axis.set_title(name)
        axis.set_xlabel("angle of the state [degree]")
        axis.set_xticks(range(0, 361, 90))
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("action 1 [normalised]")
    save(figure, path)
