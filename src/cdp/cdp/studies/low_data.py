"""Study ``low-data``: success on the toy from a part of the demonstrations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdp.config import to_mapping
from cdp.studies.frame import Outcome, StudyRun, cell, spread, table
from cdp.studies.plots import STYLES, panels, save
from cdp.studies.toy_config import Member
from cdp.studies.toy_policies import BASELINE, PENALTIES, STEPS, Bench, Policy, Scale, by_figure, train_stack
from cdp.studies.toy_task import ARCS, demonstrations

OURS = "cdp-saturating"
FRACTIONS = (0.1, 0.25, 0.5, 1.0)
_NOISES = 16


def study(run: StudyRun) -> Outcome:
    """Train both policies on nested parts of the same demonstrations."""
    scale = Scale.of(run.quick, (1000, 2000))
    bench = Bench.of(ARCS, scale)
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for name, contraction in (("diffusion", BASELINE), (OURS, PENALTIES[OURS])):
        members = [Member(seed=seed, gamma=contraction.first_gamma, fraction=fraction) for fraction in FRACTIONS for seed in run.seeds]
        stack = train_stack(contraction, members, scale, run.cache, ARCS)
        measured = [bench.measure(Policy(stack.denoiser(i, scale.snapshots[-1])), _NOISES) for i in range(len(members))]
        count = len(run.seeds)
        parts = {fraction: by_figure(measured[i * count : (i + 1) * count]) for i, fraction in enumerate(FRACTIONS)}
        figures[name] = {f"{fraction:g}": {key: spread(values) for key, values in part.items()} for fraction, part in parts.items()}
    kept = {f"{fraction:g}": len(demonstrations(ARCS, 0, fraction)[0]) // ARCS.rows for fraction in FRACTIONS}
    draw(figures, run.out / "low_data.png")
    results = {"task": to_mapping(ARCS), "updates": scale.snapshots[-1], "demonstrations": kept, "policies": figures}
    least = f"{FRACTIONS[0]:g}"
    rates = {name: cell(parts[least]["hits_50"]) for name, parts in figures.items()}
    summary = f"from {100 * FRACTIONS[0]:.0f} % of the demonstrations, hits in 50 steps {rates['diffusion']} diffusion, {rates[OURS]} {OURS}"
    wrong = () if run.quick else failures(figures)
    return Outcome(results, report(results, run), summary, wrong)


def failures(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Policies that gain nothing by ten times the demonstrations: the study would then measure something else than data."""
    least, most = f"{FRACTIONS[0]:g}", f"{FRACTIONS[-1]:g}"
    flat = [name for name, parts in figures.items() if parts[most]["hits_50"]["mean"] <= parts[least]["hits_50"]["mean"]]
    return tuple(f"{name} hits no more from all demonstrations than from a tenth" for name in flat)


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Hit rate against the part of the demonstrations, one panel for each number of sampler steps."""
    figure, axes = panels(1, len(STEPS), size=3.2)
    percent = [100 * fraction for fraction in FRACTIONS]
    for axis, steps in zip(axes[0], STEPS, strict=True):
        for name, parts in figures.items():
            colour, marker = STYLES[name]
            each = [parts[f"{fraction:g}"][f"hits_{steps}"] for fraction in FRACTIONS]
            axis.errorbar(percent, [f["mean"] for f in each], [f["std"] for f in each], color=colour, marker=marker, capsize=2, label=name)
        axis.set_title(f"{steps} sampler steps")
        axis.set_xscale("log")
        axis.set_xticks(percent, [f"{p:.0f}" for p in percent])
        axis.minorticks_off()
        axis.set_xlabel("demonstrations [%]")
        axis.set_ylim(0.0, 1.02)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("hit rate (bars: std over seeds)")
    axes[0][0].legend(fontsize=8)
    save(figure, path)


def report(results: Mapping[str, Any], run: StudyRun) -> str:
    """The study's README."""
    task, kept = results["task"], results["demonstrations"]
    head = ["demonstrations", "policy", "hits, 3 steps", "5 steps", "50 steps", "std within a mode", "coverage"]
    rows = []
    for fraction in FRACTIONS:
        for name, parts in results["policies"].items():
            part = parts[f"{fraction:g}"]
            cells = [cell(part[f"hits_{k}"]) for k in STEPS]
            rows.append([f"{100 * fraction:.0f} % ({kept[f'{fraction:g}']})", name, *cells, cell(part["within_std"], 4), cell(part["coverage"])])
    return f"""# Success from few demonstrations on the toy

## Asked
Does contraction help more, the fewer demonstrations there are? The 2-D toy of [toy](../toy/README.md) with modes that turn once, and
demonstrations of {task["rows"]} rows along an arc of {task["arc"]:g} rad, all of one mode. A part of the data is **whole demonstrations**, not
random rows; parts are nested. Every training has {results["updates"]} updates of equal batches, however much data there is; {len(run.seeds)} seeds.

## Came out
![Hit rate by part of the demonstrations](low_data.png)

{table(head, rows)}

{findings(results["policies"], len(run.seeds))}

## What this does not show
- States are tested all round the circle, also where no kept demonstration went: with few demonstrations most of what is lost is lost there,
  and no penalty on the action can bring it back.
- One weight of the penalty, not tuned, and one length of training.
"""


def findings(figures: Mapping[str, Any], seeds: int) -> str:
    """The gain in hits by part of the demonstrations, seed by seed."""
    head = [f"{OURS} minus diffusion", *(f"hits, {steps} steps" for steps in STEPS)]
    rows = []
    for fraction in FRACTIONS:
        cells = []
        for steps in STEPS:
            pair = [figures[name][f"{fraction:g}"][f"hits_{steps}"]["seeds"] for name in (OURS, "diffusion")]
            gains = [a - b for a, b in zip(*pair, strict=True)]
            cells.append(f"{cell(spread(gains), 3)} (more in {sum(gain > 0.0 for gain in gains)} of {seeds})")
        rows.append([f"{100 * fraction:.0f} %", *cells])
    return f"Seed by seed, on the same demonstrations:\n\n{table(head, rows)}"
