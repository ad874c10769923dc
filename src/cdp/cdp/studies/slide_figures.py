"""The figures of the study of slide: one row a policy, one panel a measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from cdp.studies.plots import panels, save

PANELS = {
    "lipschitz_median": ("Lipschitz ratio, median", True),
    "lipschitz_p99": ("Lipschitz ratio, 99 %", True),
    "jitter_mm": ("jitter of the first position [mm]", True),
    "action_error": ("validation action error", False),
}
#: Colour and marker of each number of sampler steps, in ascending order.
_LOOKS = (("#000000", "o"), ("#0072B2", "s"), ("#E69F00", "^"))


def draw_policies(policies: Mapping[str, Mapping[str, Any]], counts: Sequence[int], path: Path, title: str) -> None:
    """One point a seed for each of ``policies``, by number of sampler steps; a figure that is zero has no place on a logarithmic axis."""
    names = list(policies)
    figure, axes = panels(1, len(PANELS), size=3.1, share=False, height=0.34 * len(names) + 1.5)
    for axis, (key, (label, logarithmic)) in zip(axes[0], PANELS.items(), strict=True):
        for k, (steps, (colour, marker)) in enumerate(zip(counts, _LOOKS, strict=False)):
            points = [
                (value, row + 0.2 * (k - 1))
                for row, name in enumerate(names)
                for value in policies[name].get(str(steps), {}).get(key, {"seeds": []})["seeds"]
                if value > 0.0 or not logarithmic
            ]
            xs, ys = zip(*points, strict=True) if points else ((), ())
            axis.plot(xs, ys, marker, color=colour, markersize=4.5, alpha=0.75, markeredgewidth=0, label=f"{steps} steps")
        if logarithmic:
            axis.set_xscale("log")
        else:
            axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.set_xlabel(label)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_yticks(range(len(names)), names if axis is axes[0][0] else [""] * len(names))
        axis.grid(alpha=0.3)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    figure.suptitle(title)
    save(figure, path)
