"""Study ``gamma``: fixed weights of the penalty against ``gamma: auto``, and what is left of it when it is applied less often or to fewer samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cdp.config import to_mapping
from cdp.diffusion.schedule import Schedule
from cdp.studies.frame import Outcome, StudyRun, cell, spread, table, wide_cell
from cdp.studies.gamma_figures import draw_cheap, draw_front, draw_trace
from cdp.studies.pairs import ratio, ratio_cell
from cdp.studies.sweep import GAMMA_START, GAMMAS, OURS, SNAPSHOTS, SWEEP, members_of, policies_of, sweep_stack
from cdp.studies.toy_cache import Trained
from cdp.studies.toy_config import Member
from cdp.studies.toy_policies import BASELINE, PENALTIES, Bench, Policy, Scale, measure_seeds, train_stack
from cdp.studies.toy_task import ARCS, exact_denoiser

LABELS = (OURS, "cdp-hinge")
#: ``every`` and ``fraction`` of a cheaper or dearer penalty; the default first.
CHEAP = ((2, 0.25), (1, 0.25), (4, 0.25), (2, 0.5), (2, 1.0))
#: Part of the training, its end, that the achieved violation rate is a mean over.
_LAST = 0.25
_NOISES = 16
_TRACE_POINTS = 50


def study(run: StudyRun) -> Outcome:
    """Train every weight of both penalties, and the default weight at every cost; measure success, sensitivity and violation."""
    scale = Scale.of(run.quick, SNAPSHOTS)
    bench = Bench.of(ARCS, scale)
    exact = bench.measure(Policy(exact_denoiser(ARCS, Schedule())), _NOISES)
    sweeps = {label: sweep(label, run, scale, bench) for label in LABELS}
    cheap = costs(run, scale, bench)
    draw_front(sweeps, {weight.name: weight.target is not None for weight in SWEEP}, exact, run.out / "front.png")
    draw_trace({label: {w.name: each[w.name] for w in SWEEP if w.target is not None} for label, each in sweeps.items()}, run.out / "trace.png")
    draw_cheap(cheap, run.out / "cheap.png")
    results = {
        "task": to_mapping(ARCS),
        "updates": scale.snapshots[-1],
        "penalties": {label: to_mapping(PENALTIES[label]) for label in LABELS},
        "exact": exact,
        "sweeps": sweeps,
        "cost": cheap,
    }
    ends = "; ".join(f"{label} {cell(sweeps[label]['auto 5 %']['gamma_last'])}" for label in LABELS)
    return Outcome(results, report(results, run), f"gamma auto for a violation of 5 % ends at {ends}", failures(exact))


def failures(exact: Mapping[str, float]) -> tuple[str, ...]:
    """What is wrong with the instrument, if anything."""
    return () if exact["coverage"] == 1.0 else (f"the exact denoiser keeps both modes for {exact['coverage']:.3f} of the states only",)


def sweep(label: str, run: StudyRun, scale: Scale, bench: Bench) -> dict[str, Any]:
    """Figures of every weight of one penalty, all trained at once."""
    stack = sweep_stack(label, run, scale)
    return {weight.name: figures_of(stack, members_of(weight, len(run.seeds)), scale, bench) for weight in SWEEP}


def costs(run: StudyRun, scale: Scale, bench: Bench) -> dict[str, Any]:
    """Figures of the default penalty at the default weight, by how often and on how much of a batch it is applied; and without it."""
    penalty = PENALTIES[OURS]
    members = [Member(seed=seed, gamma=penalty.first_gamma) for seed in run.seeds]
    first = range(len(members))
    stack = train_stack(BASELINE, [Member(seed=seed) for seed in run.seeds], scale, run.cache, ARCS)
    found = {"no penalty": measure_seeds(bench, policies_of(stack, first, scale), _NOISES)}
    for every, fraction in CHEAP:
        stack = train_stack(replace(penalty, every=every, fraction=fraction), members, scale, run.cache, ARCS)
        found[f"every {every}, fraction {fraction:g}"] = figures_of(stack, first, scale, bench)
    return found


def figures_of(stack: Trained, members: Sequence[int], scale: Scale, bench: Bench) -> dict[str, Any]:
    """Figures of ``members``, one a seed; the end and the trace of their weights, and the violation rate over the end of the training."""
    steps = len(stack.gamma)
    last = slice(steps - max(1, round(_LAST * steps)), None)
    stride = max(1, steps // _TRACE_POINTS)
    figures = measure_seeds(bench, policies_of(stack, members, scale), _NOISES)
    figures["violation"] = spread([float(stack.violation[last, member].mean()) for member in members])
    figures["gamma_last"] = spread([float(stack.gamma[-1, member]) for member in members])
    figures["trace"] = {
        "update": [stack.config.contraction.every * step for step in range(0, steps, stride)],
        "gamma": [[round(float(value), 5) for value in stack.gamma[::stride, member]] for member in members],
    }
    return figures


def report(results: Mapping[str, Any], run: StudyRun) -> str:
    """The study's README."""
    rate = PENALTIES[OURS].gamma_rate
    sweeps = "\n\n".join(f"{label}:\n\n{sweep_table(each, results['exact'])}" for label, each in results["sweeps"].items())
    return f"""# The weight of the penalty: fixed, or driven by the violation rate

## Asked
Does `gamma: auto` find a weight as good as the best of a sweep of fixed ones? And how much of the penalty is left when it is applied at every
second or fourth step only, to a part of the batch? The 2-D toy of [toy](../toy/README.md) with modes that turn once and demonstrations of
{ARCS.rows} rows, {results["updates"]} updates, {len(run.seeds)} seeds. `auto` starts at {GAMMA_START:g} and moves by {rate:g} times (violation
rate - target) after each penalised step; each network has a weight of its own. Penalised are every second step and a quarter of the batch, as
by default.

## Came out
![Success, coverage and sensitivity by weight](front.png)

Violation: share of penalised samples over their limit (squared norm above kappa for cdp-saturating, lambda_max above alpha - beta for cdp-hinge),
mean over the last quarter of the training. Mean ± standard deviation over seeds.

{sweeps}

{front_lines(results["sweeps"])}

![The weight over training](trace.png)

{target_lines(results["sweeps"])}

### A cheaper penalty
![The default weight, by how often and on how much of a batch it is applied](cheap.png)

{OURS}, gamma {PENALTIES[OURS].first_gamma:g}. A penalised step is not weighted up for the steps that are left out, so less often is also less.

{cheap_table(results["cost"])}

## What this does not show
- One task, one length of training, one rate and one start of `auto`: a slower or a longer training would let the weight settle, or grow on.
- The task is hit by all but the largest weights in 50 steps; success tells weights apart in few steps only.
- A target is a choice as a weight is: the sweep says which targets serve here, not elsewhere.
- What a penalised step costs: [contraction](../../contraction.md) has that, on the network of the slide task.
"""


def sweep_table(sweep: Mapping[str, Any], exact: Mapping[str, float]) -> str:
    """One row for each weight."""
    head = ["gamma", "violation", "gamma at the end", "hits, 5 steps", "50 steps", "coverage", "std within a mode", "Lipschitz, median", "99.9 %"]
    figures = [f"{exact[key]:.2f}" for key in ("hits_5", "hits_50", "coverage")] + [f"{exact['within_std']:.4f}"]
    rows = [["exact denoiser", "", "", *figures, *(f"{exact[key]:.2g}" for key in ("lipschitz_median", "lipschitz_p999"))]]
    for name, each in sweep.items():
        cells = [cell(each["violation"], 3), cell(each["gamma_last"]), *(cell(each[key]) for key in ("hits_5", "hits_50", "coverage"))]
        rows.append([name, *cells, cell(each["within_std"], 4), wide_cell(each["lipschitz_median"]), wide_cell(each["lipschitz_p999"])])
    return table(head, rows)


def front_lines(sweeps: Mapping[str, Any]) -> str:
    """For each target: the fixed weights that are better in both of two figures, by their means."""
    figures = {"coverage": "coverage", "hits_5": "hits in 5 steps"}
    lines = []
    for label, each in sweeps.items():
        targets = [weight.name for weight in SWEEP if weight.target is not None]
        beaten = {
            (name, key): [f"{gamma:g}" for gamma in GAMMAS if dominates(each[f"{gamma:g}"], each[name], key)] for name in targets for key in figures
        }
        front = [name for name in targets if not any(beaten[name, key] for key in figures)]
        lines.append(f"- {label}: {'; '.join(front) if front else 'no target'} on the front in both coverage and hits in 5 steps.")
        for key, words in figures.items():
            parts = [f"{name}: {', '.join(beaten[name, key])}" for name in targets if beaten[name, key]]
            if parts:
                lines.append(f"  Fixed weights with both a smaller median Lipschitz constant and more {words} than {'; than '.join(parts)}.")
    return "A weight is on the front of the sweep where no fixed one is better in both figures (of means over seeds):\n" + "\n".join(lines)


def dominates(fixed: Mapping[str, Any], auto: Mapping[str, Any], key: str) -> bool:
    """Whether ``fixed`` contracts more and has more of ``key``."""
    return bool(fixed["lipschitz_median"]["mean"] < auto["lipschitz_median"]["mean"] and fixed[key]["mean"] > auto[key]["mean"])


def target_lines(sweeps: Mapping[str, Any]) -> str:
    """Whether each target is met, and how far the weight went on the way and in the end."""
    lines = []
    for label, each in sweeps.items():
        head = ["target", "violation", "gamma, highest", "at the end"]
        rows = []
        for weight in SWEEP:
            if weight.target is not None:
                figures = each[weight.name]
                highest = spread([max(*line, last) for line, last in zip(figures["trace"]["gamma"], figures["gamma_last"]["seeds"], strict=True)])
                rows.append([f"{weight.target:g}", cell(figures["violation"], 3), cell(highest), cell(figures["gamma_last"])])
        base = cell(each["0"]["violation"], 3)
        lines.append(f"{label}, whose violation rate without a penalty is {base}:\n\n{table(head, rows)}")
    return "\n\n".join(lines)


def cheap_table(costs: Mapping[str, Any]) -> str:
    """One row for each cost; ratios to no penalty."""
    head = ["penalised", "samples a step", "hits, 5 steps", "coverage", "Lipschitz, median", "/ no penalty", "std within a mode", "/ no penalty"]
    base = costs["no penalty"]
    rows = []
    for name, each in costs.items():
        ratios = [ratio_cell(each[key], base[key]) for key in ("lipschitz_median", "within_std")] if name != "no penalty" else ["", ""]
        cells = [cell(each["hits_5"]), cell(each["coverage"]), wide_cell(each["lipschitz_median"]), ratios[0], cell(each["within_std"], 4), ratios[1]]
        rows.append([name, f"{samples_a_step(name):.3g}", *cells])
    least = min(ratio(each["lipschitz_median"], base["lipschitz_median"]) for name, each in costs.items() if name != "no penalty")
    most = max(ratio(each["lipschitz_median"], base["lipschitz_median"]) for name, each in costs.items() if name != "no penalty")
    return f"{table(head, rows)}\n\nThe median Lipschitz constant is {least:.2g} to {most:.2g} of what it is without a penalty."


def samples_a_step(name: str) -> float:
    """Share of a batch that is penalised, on average over steps."""
    shares = {f"every {every}, fraction {fraction:g}": fraction / every for every, fraction in CHEAP}
    return shares.get(name, 0.0)
