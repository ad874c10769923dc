"""The figures of the study ``ode-sde``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdp.studies.plots import STYLES, panels, save

_ROWS = {"hits": "hit rate", "within_std": "std within a mode", "energy": "squared energy distance"}
#: Deterministic solvers solid, each stochastic one in a colour of its own, paler for less noise.
_LINES = {
    "ddim": ("#000000", "o", "-"),
    "dpmpp_2m": ("#0072B2", "s", "-"),
    "heun": ("#009E73", "D", "-"),
    "euler": ("#7f7f7f", "x", "-"),
    "ancestral, eta 0.5": ("#E69F00", "^", "--"),
    "ancestral, eta 1": ("#D55E00", "^", "--"),
    "euler_maruyama, eta 0.5": ("#56B4E9", "v", "--"),
    "euler_maruyama, eta 1": ("#CC79A7", "v", "--"),
}


def draw_steps(policies: Mapping[str, Any], solvers: Sequence[str], counts: Sequence[int], expert: Mapping[str, float], path: Path) -> None:
    """One row a figure, one column a policy: lines of solvers against steps."""
    figure, axes = panels(len(_ROWS), len(policies), size=4.0, share=False, height=3.0)
    highest = max(by_solver[solver][str(k)]["energy"]["mean"] for by_solver in policies.values() for solver in solvers for k in counts)
    for row, (key, words) in zip(axes, _ROWS.items(), strict=True):
        for axis, (name, by_solver) in zip(row, policies.items(), strict=True):
            for solver in solvers:
                colour, marker, style = _LINES[solver]
                means = [by_solver[solver][str(k)][key]["mean"] for k in counts]
                axis.plot(counts, means, style, color=colour, marker=marker, markersize=5, linewidth=1.2, label=solver)
            if key in expert:
                axis.axhline(expert[key], color="#7f7f7f", linestyle=":", linewidth=1)
            axis.set_xscale("log")
            axis.set_xticks(counts, [str(k) for k in counts])
            axis.minorticks_off()
            axis.grid(alpha=0.3)
            if key == "hits":
                axis.set_title(name)
                axis.set_ylim(0.0, 1.02)
            elif key == "within_std":
                axis.set_yscale("log")
                axis.set_ylim(3e-4, 1.0)
            else:
                axis.set_ylim(-0.1 * highest, 1.05 * highest)
        row[0].set_ylabel(words)
    for axis in axes[-1]:
        axis.set_xlabel("sampler steps")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    save(figure, path)


def draw_gains(sizes: Mapping[str, Any], solvers: Sequence[str], path: Path) -> None:
    """Median Lipschitz constants by solver, to the start and to all noise."""
    figure, axes = panels(1, 2, size=5.4, share=True, height=4.0)
    for axis, (key, title) in zip(axes[0], {"start_median": "to the noise at the start", "all_median": "to all of the noise"}.items(), strict=True):
        for shift, (name, by_solver) in zip((-0.2, 0.0, 0.2), sizes.items(), strict=True):
            colour, marker = STYLES[name]
            each = [by_solver[solver][key] for solver in solvers]
            places = [place + shift for place in range(len(solvers))]
            axis.errorbar(places, [f["mean"] for f in each], [f["std"] for f in each], color=colour, marker=marker, ls="", capsize=3, label=name)
        axis.set_yscale("log")
        axis.set_xticks(range(len(solvers)), [name.replace(", ", "\n") for name in solvers], rotation=40, fontsize=9)
        axis.set_title(title)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("Lipschitz constant, median")
    axes[0][0].legend(fontsize=9)
    save(figure, path)
