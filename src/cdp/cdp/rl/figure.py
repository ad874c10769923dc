"""The figure of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Returns, the sampler's Lipschitz ratio and the standard deviation of its actions: a point for each seed, a line for their mean."""
    variants = results["variants"]
    figure, axes = plt.subplots(1, 3, figsize=(13, 5.0), layout="constrained", width_ratios=(1.4, 1, 1))
    _returns(axes[0], results)
    _spread(axes[1], variants, "lipschitz", "Lipschitz ratio of the sampler, noise to action")
    _spread(axes[2], variants, "action_std", "std of the action over noise seeds, normalised")
    for one in axes:
        one.set_xticks(range(len(variants)), list(variants), fontsize=10)
        one.set_xlim(-0.5, len(variants) - 0.5)
        one.grid(axis="y", alpha=0.3)
        one.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncol=2, frameon=False)
    data = results["dataset"]
    figure.suptitle(
        f"{results['task']}, {data['transitions']} transitions, {len(results['seeds'])} training seeds (points); lines: mean over the seeds",
        fontsize=11,
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _returns(axes: Axes, results: Mapping[str, Any]) -> None:
    variants, data = results["variants"], results["dataset"]
    for offset, key, label, colour in ((-0.18, "selected", "with selection by Q", "C0"), (0.18, "actor_alone", "the actor's own action", "C1")):
        _points(axes, [[run[key]["return_mean"] for run in variant["runs"]] for variant in variants.values()], offset, colour, label)
    axes.axhline(data["episode_return"]["mean"], color="0.3", linestyle="--", linewidth=1, label="behaviour: mean episode of the data")
    if data.get("level_returns"):
        axes.axhline(max(data["level_returns"]), color="0.3", linestyle=":", linewidth=1, label="behaviour: best level of the data")
    axes.set_ylabel("undiscounted return of an episode")


def _spread(axes: Axes, variants: Mapping[str, Any], key: str, label: str) -> None:
    for offset, which, name, colour in ((-0.18, "median", "median over observations", "C2"), (0.18, "p95", "95th percentile", "C4")):
        _points(axes, [[run["sampler"][key][which] for run in variant["runs"]] for variant in variants.values()], offset, colour, name)
    axes.set_yscale("log")
    axes.set_ylabel(label)


def _points(axes: Axes, values: list[list[float]], offset: float, colour: str, label: str) -> None:
    places = np.arange(len(values)) + offset
    axes.hlines([float(np.mean(v)) for v in values], places - 0.14, places + 0.14, color=colour, linewidth=2, label=label)
    for place, points in zip(places, values, strict=True):
        axes.plot(place + np.linspace(-0.09, 0.09, len(points)), points, "o", color=colour, markersize=5)
