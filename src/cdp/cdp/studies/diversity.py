"""Study ``diversity``: how much of the expert's variety is left, by weight of the penalty."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdp.config import to_mapping
from cdp.diffusion.schedule import Schedule
from cdp.studies.frame import Outcome, StudyRun, cell, table, wide_cell
from cdp.studies.plots import STYLES, panels, save
from cdp.studies.sweep import GAMMAS, OURS, SNAPSHOTS, Weight, members_of, policies_of, sweep_stack
from cdp.studies.toy_policies import PENALTIES, Bench, Policy, Scale, measure_seeds
from cdp.studies.toy_task import ARCS, exact_denoiser

COLUMNS = {
    "hits_50": "hit rate, 50 steps",
    "coverage": "coverage of the modes",
    "within_std": "std within a mode",
    "lipschitz_median": "local Lipschitz constant, median",
}
_NOISES = 16


def study(run: StudyRun) -> Outcome:
    """Train at every weight, measure coverage and spread."""
    scale = Scale.of(run.quick, SNAPSHOTS)
    bench = Bench.of(ARCS, scale)
    stack, count = sweep_stack(OURS, run, scale), len(run.seeds)
    figures = {f"{gamma:g}": measure_seeds(bench, policies_of(stack, members_of(Weight(gamma), count), scale), _NOISES) for gamma in GAMMAS}
    exact = bench.measure(Policy(exact_denoiser(ARCS, Schedule())), _NOISES)
    draw(figures, exact, run.out / "diversity.png")
    results = {
        "task": to_mapping(ARCS),
        "updates": scale.snapshots[-1],
        "penalty": to_mapping(PENALTIES[OURS]),
        "expert": {"hits": ARCS.hit_rate, "within_std": ARCS.std},
        "exact": exact,
        "gammas": figures,
    }
    summary = "; ".join(f"gamma {gamma:g}: coverage {cell(figures[f'{gamma:g}']['coverage'])}" for gamma in (0.0, 0.1, 1.0))
    wrong = () if exact["coverage"] == 1.0 else (f"the exact denoiser keeps both modes for {exact['coverage']:.3f} of the states only",)
    return Outcome(results, report(results, run), summary, wrong)


def draw(figures: Mapping[str, Any], exact: Mapping[str, float], path: Path) -> None:
    """One panel for each figure against gamma; gamma 0 stands apart on the left."""
    figure, axes = panels(1, len(COLUMNS), size=3.1, share=False)
    positions = range(len(GAMMAS))
    colour, marker = STYLES[OURS]
    for axis, (key, label) in zip(axes[0], COLUMNS.items(), strict=True):
        each = [figures[f"{gamma:g}"][key] for gamma in GAMMAS]
        axis.errorbar(positions, [f["mean"] for f in each], [f["std"] for f in each], color=colour, marker=marker, capsize=2, label=OURS)
        axis.axhline(exact[key], color=STYLES["exact"][0], linestyle=":", label="exact denoiser")
        axis.set_xticks(positions, [f"{gamma:g}" for gamma in GAMMAS])
        axis.set_xlabel("gamma")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        if key in ("within_std", "lipschitz_median"):
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0.0)
    axes[0][0].legend(fontsize=8)
    save(figure, path)


def report(results: Mapping[str, Any], run: StudyRun) -> str:
    """The study's README."""
    head = ["gamma", "hits, 5 steps", "50 steps", "coverage", "std, both modes", "std within a mode", "Lipschitz, median", "99.9 %"]
    exact, task = results["exact"], results["task"]
    plain = ("hits_5", "hits_50", "coverage", "std")
    last_row = [f"{exact[key]:.2f}" for key in plain] + [f"{exact['within_std']:.4f}"]
    last_row += [f"{exact[key]:.2g}" for key in ("lipschitz_median", "lipschitz_p999")]
    rows = [["exact denoiser", *last_row]]
    for gamma, figures in results["gammas"].items():
        cells = [cell(figures[key]) for key in plain] + [cell(figures["within_std"], 4)]
        rows.append([gamma, *cells, wide_cell(figures["lipschitz_median"]), wide_cell(figures["lipschitz_p999"])])
    return f"""# What contraction leaves of the expert's variety

## Asked
Forcing a sampler to contract could cost it a mode, or the variety within one. From which weight of the penalty does it? The 2-D toy of
[toy](../toy/README.md) with modes that turn once and demonstrations of {task["rows"]} rows, the networks of [gamma](../gamma/README.md): penalty
{OURS} (kappa {results["penalty"]["kappa"]:g}, all times),
{results["updates"]} updates, 50 DDIM steps, {len(run.seeds)} seeds.

## Came out
![Variety by weight of the penalty](diversity.png)

Coverage: share of states for which each of the two modes gets 10 % of the samples or more. Within a mode: around the mean on the same side;
the expert has {results["expert"]["within_std"]:g}. Mean ± standard deviation over seeds.

{table(head, rows)}

{findings(results["gammas"], exact, len(run.seeds))}

## What this does not show
- Two modes of equal weight, far apart: a rare mode, or one close by, is not tested.
- Where the hit rate falls, coverage falls with it: samples between the modes cover neither.
- One length of training; the penalty's weight is not annealed.
"""


def findings(figures: Mapping[str, Any], exact: Mapping[str, float], seeds: int) -> str:
    """Against gamma 0, seed by seed: where coverage, hits and spread are less in every seed."""
    base = figures["0"]
    lost = 1.0 - base["within_std"]["mean"] / exact["within_std"]
    lines = [f"- Without a penalty the network has already lost {100 * lost:.0f} % of the exact denoiser's std within a mode."]
    for key, words in (("coverage", "coverage"), ("hits_50", "the hit rate"), ("within_std", "the std within a mode")):
        less, more = [], []
        for gamma in list(figures)[1:]:
            differences = [a - b for a, b in zip(figures[gamma][key]["seeds"], base[key]["seeds"], strict=True)]
            if max(differences) < 0.0:
                less.append(gamma)
            if min(differences) > 0.0:
                more.append(gamma)
        lines.append(f"- Against gamma 0, {words} is lower in every one of {seeds} seeds at gamma {_names(less)}, higher at {_names(more)}.")
    return "\n".join(lines)


def _names(gammas: list[str]) -> str:
    return ", ".join(gammas) if gammas else "none"
