"""Study ``steps-solver``: success on the toy by the number of sampler steps and the solver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdp.config import to_mapping
from cdp.diffusion.sampler import SOLVERS
from cdp.diffusion.schedule import Schedule
from cdp.studies.frame import Outcome, StudyRun, cell, spread, table
from cdp.studies.measures import hit_rate
from cdp.studies.plots import STYLES, panels, save
from cdp.studies.toy_policies import Bench, Policy, Scale, baselines, penalised
from cdp.studies.toy_task import ToyTask, exact_denoiser

OURS = "cdp-saturating"
COUNTS = (1, 2, 3, 5, 10, 20, 50)
_TOLERANCE = 0.03


def study(run: StudyRun) -> Outcome:
    """Hit rates of the toy's own policies at every step count and solver, and those of the exact denoiser."""
    scale, task = Scale.of(run.quick), ToyTask()
    bench = Bench.of(task, scale)
    last = scale.snapshots[-1]
    stacks = {"diffusion": baselines(run.seeds, scale, run.cache), OURS: penalised(OURS, run.seeds, scale, run.cache)}
    policies = {name: [Policy(stack.denoiser(member, last)) for member in range(len(run.seeds))] for name, stack in stacks.items()}
    exact = Policy(exact_denoiser(task, Schedule()))
    rates: dict[str, dict[str, dict[str, Any]]] = {"exact": {}}
    for solver in SOLVERS:
        for name, members in {"exact": [exact], **policies}.items():
            figures = {str(k): spread([hit_rate(bench.actions(policy, k, solver), bench.mode) for policy in members]) for k in COUNTS}
            rates.setdefault(name, {})[solver] = figures
    draw(rates, task, run.out / "steps.png")
    results = {"task": to_mapping(task), "updates": last, "expert": task.hit_rate, "hits": rates}
    best = {name: {k: max(rates[name][s][str(k)]["mean"] for s in SOLVERS) for k in (3, 5)} for name in policies}
    summary = "; ".join(f"{name} hits {figures[3]:.2f} in 3 steps, {figures[5]:.2f} in 5, by its best solver" for name, figures in best.items())
    return Outcome(results, report(results, run), summary, failures(rates, task))


def failures(rates: Mapping[str, Any], task: ToyTask) -> tuple[str, ...]:
    """Solvers that do not bring the exact denoiser to the expert's hit rate in the most steps."""
    most = str(COUNTS[-1])
    found = {solver: figures[most]["mean"] for solver, figures in rates["exact"].items()}
    return tuple(
        f"{solver} in {most} steps of the exact denoiser hits {rate:.3f}, the expert {task.hit_rate:.3f}"
        for solver, rate in found.items()
        if rate < task.hit_rate - _TOLERANCE
    )


def draw(rates: Mapping[str, Any], task: ToyTask, path: Path) -> None:
    """Hit rate against steps, one panel a solver."""
    figure, axes = panels(1, len(SOLVERS), size=3.6)
    for axis, solver in zip(axes[0], SOLVERS, strict=True):
        for name, by_solver in rates.items():
            colour, marker = STYLES[name]
            figures = [by_solver[solver][str(k)] for k in COUNTS]
            means, stds = [f["mean"] for f in figures], [f["std"] for f in figures]
            axis.errorbar(COUNTS, means, stds, color=colour, marker=marker, markersize=5, linewidth=1.2, capsize=2, label=name)
        axis.axhline(task.hit_rate, color="#7f7f7f", linestyle=":", linewidth=1)
        axis.set_xscale("log")
        axis.set_xticks(COUNTS, [str(k) for k in COUNTS])
        axis.minorticks_off()
        axis.set_xlabel("sampler steps")
        axis.set_title(solver)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("hit rate (bars: std over seeds)")
    axes[0][0].legend(fontsize=8)
    save(figure, path)


def report(results: Mapping[str, Any], run: StudyRun) -> str:
    """The study's README."""
    head = ["policy", "solver", *(f"{k}" for k in COUNTS)]
    rows = []
    for name, by_solver in results["hits"].items():
        for solver, figures in by_solver.items():
            cells = [f"{f['mean']:.2f}" if name == "exact" else cell(f) for f in (figures[str(k)] for k in COUNTS)]
            rows.append([name, solver, *cells])
    return f"""# Solver and number of steps on the toy

## Asked
How many steps does each solver need on the 2-D toy, with and without contraction? The networks are those of [toy](../toy/README.md) after
{results["updates"]} updates; {len(run.seeds)} seeds.

## Came out
![Hit rate by steps](steps.png)

Hit rate by number of steps, mean ± standard deviation over seeds; the expert itself hits {results["expert"]:.3f}. `exact` is the denoiser
that knows the expert's distribution: what it lacks is the solver's alone. Its single step gives the mean of the two modes, which hits
neither; a network that hits in one step has learned by heart which mode the demonstrated state took.

{table(head, rows)}

{findings(results["hits"], len(run.seeds))}

## What this does not show
- The default time grid, which turns (alpha, sigma) by equal angles, for every solver; a grid made for few steps would move the left half.
- Steps, not denoiser evaluations: they are the same for a solver that evaluates once a step.
- Hits say nothing of variety: see [toy](../toy/README.md) and [diversity](../diversity/README.md).
"""


def findings(rates: Mapping[str, Any], seeds: int) -> str:
    """Where ours is ahead in every seed, and where it is behind in every seed."""
    lines = []
    for solver in SOLVERS:
        differences = {
            k: [a - b for a, b in zip(rates[OURS][solver][str(k)]["seeds"], rates["diffusion"][solver][str(k)]["seeds"], strict=True)] for k in COUNTS
        }
        ahead = [str(k) for k, each in differences.items() if min(each) > 0.0]
        behind = [str(k) for k, each in differences.items() if max(each) < 0.0]
        lines.append(f"- {solver}: {OURS} hits more in every one of {seeds} seeds at {_counts(ahead)}, less in every seed at {_counts(behind)}.")
    return "\n".join(lines)


def _counts(counts: list[str]) -> str:
    return f"{', '.join(counts)} steps" if counts else "no step count"
