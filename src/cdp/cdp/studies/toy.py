"""Study ``toy``: what contraction does to the flow, the samples and their spread, beside the controls that shrink a spread without it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cdp.config import to_mapping
from cdp.diffusion.schedule import Schedule
from cdp.studies.frame import Outcome, StudyRun, cell, spread, table, wide_cell
from cdp.studies.measures import at_hit_rate, hit_rate, rarer_share
from cdp.studies.toy_cache import Trained
from cdp.studies.toy_config import Member
from cdp.studies.toy_figures import draw_flows, draw_samples, draw_trade
from cdp.studies.toy_policies import (
    BASELINE,
    PENALTIES,
    REFERENCE_STEPS,
    WEIGHT_DECAYS,
    Bench,
    Policy,
    Scale,
    baselines,
    by_figure,
    penalised,
    train_stack,
)
from cdp.studies.toy_regression import regression_action
from cdp.studies.toy_task import HIT_RADIUS, SHAPE, ToyTask, exact_denoiser

OURS = "cdp-saturating"
HALF = "half temperature"
DECAYS = tuple(f"weight decay, {name}" for name in ("weak", "strong"))
#: Of each policy at equal hits: whether a smaller one is what contraction promises.
COMPARED = ("lipschitz_median", "lipschitz_p999", "std", "within_std")
#: The last snapshots are measured; the first only drawn: hardly anything is hit there.
_MEASURED = 4
_CURVE_NOISES = 16
#: The exact denoiser's hit rate may fall short of the expert's by this much, for the discretisation of 50 steps.
_TOLERANCE = 0.03


@dataclass(frozen=True)
class Run:
    """Where a policy's networks are: a member of a stack for each seed, and the temperature that it is sampled at."""

    stack: Trained
    members: tuple[int, ...]
    temperature: float = 1.0

    def policy(self, seed: int, updates: int) -> Policy:
        """The policy of the ``seed``-th seed after so many updates."""
        return Policy(self.stack.denoiser(self.members[seed], updates), self.temperature)


def study(run: StudyRun) -> Outcome:
    """Train every policy on the same data, measure them along training, draw the flows and the samples."""
    scale, task = Scale.of(run.quick), ToyTask()
    bench = Bench.of(task, scale)
    runs = train_runs(run, scale)
    snapshots = scale.snapshots[-_MEASURED:]
    measured = {name: measure_run(bench, each, snapshots, len(run.seeds)) for name, each in runs.items()}
    exact = bench.measure(Policy(exact_denoiser(task, Schedule())))
    flat = {
        "zero temperature": zero_noise(bench, runs["diffusion"], snapshots[-1], len(run.seeds)),
        "two-step regression": regression(bench, run, scale),
    }
    comparison = {other: compare(measured[OURS], measured[other], len(run.seeds)) for other in runs if other != OURS}

    first = {"diffusion": runs["diffusion"], OURS: runs[OURS]}
    flows = {"exact": exact_denoiser(task, Schedule()), **{name: each.policy(0, snapshots[-1]).denoise for name, each in first.items()}}
    coarse: dict[str, Any] = {"times": (0.5,), "cells": 7} if run.quick else {}
    kept = torch.stack([rarer_share(bench.actions(each.policy(0, snapshots[-1]), REFERENCE_STEPS), bench.mode) for each in first.values()])
    draw_flows(flows, bench.states[int(kept.amin(dim=0).argmax())], task, run.out / "flow.png", **coarse)
    draw_samples({name: {u: each.policy(0, u) for u in scale.snapshots} for name, each in first.items()}, bench, run.out / "samples.png")
    curves = {name: {key: [figures[u][key]["mean"] for u in snapshots] for key in exact} for name, figures in measured.items()}
    draw_trade(curves, task, run.out / "trade.png")

    results = {
        "task": to_mapping(task),
        "training": {name: settings_of(each.stack) for name, each in runs.items()},
        "expert": {"hits": task.hit_rate, "std": task.action_std, "within_std": task.std},
        "exact": exact,
        "policies": {name: {str(u): values for u, values in figures.items()} for name, figures in measured.items()},
        "without_noise": flat,
        "at_equal_hits": comparison,
    }
    against = comparison["diffusion"]
    rates = {name: cell(measured[name][snapshots[-1]]["hits_50"]) for name in first}
    summary = (
        f"hits in 50 steps {rates['diffusion']} diffusion, {rates[OURS]} {OURS}; "
        f"at equal hits the median Lipschitz constant of {OURS} is {against['lipschitz_median']['ratio']:.2g} and the 99.9 % "
        f"{against['lipschitz_p999']['ratio']:.2g} of diffusion's"
    )
    return Outcome(results, report(results, snapshots, run), summary, failures(exact, task))


def train_runs(run: StudyRun, scale: Scale) -> dict[str, Run]:
    """Every policy with noise, by name, the baseline first."""
    count = len(run.seeds)
    base = baselines(run.seeds, scale, run.cache)
    first = tuple(range(count))
    runs = {"diffusion": Run(base, first)}
    runs |= {label: Run(penalised(label, run.seeds, scale, run.cache), first) for label in PENALTIES}
    runs[HALF] = Run(base, first, temperature=0.5)
    return runs | {name: Run(base, tuple((i + 1) * count + m for m in first)) for i, name in enumerate(DECAYS)}


def measure_run(bench: Bench, run: Run, snapshots: Sequence[int], seeds: int) -> dict[int, dict[str, Any]]:
    """Figures of a policy by snapshot, each with its spread over the seeds; Lipschitz constants from all the noise at the last one only."""
    found = {}
    for updates in snapshots:
        few = None if updates == snapshots[-1] else _CURVE_NOISES
        each = by_figure([bench.measure(run.policy(seed, updates), few) for seed in range(seeds)])
        found[updates] = {name: spread(values) for name, values in each.items()}
    return found


def zero_noise(bench: Bench, run: Run, updates: int, seeds: int) -> dict[str, Any]:
    """Hit rate of the baseline sampled from zero noise: one action a state."""
    zero = Bench(bench.task, bench.states, torch.zeros_like(bench.noise[:, :1]))
    rates = {f"hits_{k}": [hit_rate(zero.actions(run.policy(seed, updates), k), bench.mode) for seed in range(seeds)] for k in (3, 5, 50)}
    return {name: spread(values) for name, values in rates.items()}


def regression(bench: Bench, run: StudyRun, scale: Scale) -> dict[str, Any]:
    """Hit rate of the two-step regression policy, which has no noise."""
    stack = train_stack(BASELINE, [Member(seed=seed) for seed in run.seeds], scale, run.cache, objective="regression")
    rates = []
    for member in range(len(run.seeds)):
        with torch.no_grad():
            network = stack.denoiser(member, scale.snapshots[-1])
            actions = regression_action(network, (len(bench.states), *SHAPE), bench.states, Schedule())
        rates.append(hit_rate(actions, bench.mode))
    return {"hits": spread(rates)}


def compare(ours: Mapping[int, Mapping[str, Any]], other: Mapping[int, Mapping[str, Any]], seeds: int) -> dict[str, Any]:
    """Figures of both at the highest hit rate that both reach, seed by seed, interpolated along training.

    ``ratio`` is the geometric mean over seeds of ours / the other's, ``smaller`` the seeds in which ours is smaller.
    """
    found: dict[str, Any] = {}
    levels = []
    pairs: dict[str, list[tuple[float, float]]] = {key: [] for key in COMPARED}
    for seed in range(seeds):
        rates = [[figures["hits_50"]["seeds"][seed] for figures in side.values()] for side in (ours, other)]
        level = min(max(each) for each in rates)
        levels.append(level)
        for key in COMPARED:
            values = [[figures[key]["seeds"][seed] for figures in side.values()] for side in (ours, other)]
            mine, theirs = (at_hit_rate(level, r, v) for r, v in zip(rates, values, strict=True))
            if mine is not None and theirs is not None:
                pairs[key].append((mine, theirs))
    found["hits_50"] = spread(levels)
    for key, both in pairs.items():
        logs = [math.log(max(mine, 1e-12) / max(theirs, 1e-12)) for mine, theirs in both]
        found[key] = {
            "ours": spread([mine for mine, _ in both]),
            "other": spread([theirs for _, theirs in both]),
            "ratio": math.exp(math.fsum(logs) / len(logs)),
            "smaller": sum(mine < theirs for mine, theirs in both),
        }
    return found


def settings_of(stack: Trained) -> dict[str, Any]:
    """The configuration of a stack, for the record."""
    return {key: value for key, value in to_mapping(stack.config).items() if key not in ("task", "schedule")}


def failures(exact: Mapping[str, float], task: ToyTask) -> tuple[str, ...]:
    """What is wrong with the instruments, if anything: the exact denoiser must do what the expert does."""
    wrong = []
    if exact["hits_50"] < task.hit_rate - _TOLERANCE:
        wrong.append(f"the exact denoiser hits {exact['hits_50']:.3f} in 50 steps where the expert hits {task.hit_rate:.3f}")
    if exact["coverage"] < 1.0:
        wrong.append(f"the exact denoiser keeps both modes for {exact['coverage']:.3f} of the states only")
    return tuple(wrong)


def report(results: Mapping[str, Any], snapshots: Sequence[int], run: StudyRun) -> str:
    """The study's README."""
    tables = "\n\n".join(f"After {updates} updates:\n\n{policy_table(results, updates)}" for updates in snapshots[-2:])
    decays = ", ".join(f"{name.partition(', ')[2]} {value:g}" for name, value in zip(DECAYS, WEIGHT_DECAYS, strict=True))
    task, expert = results["task"], results["expert"]
    return f"""# A 2-D toy: what contraction does to the flow and to the samples

## Asked
At equal success, is the sampler of a contractive policy less sensitive to its noise than plain diffusion, and than what else shrinks a
spread: less noise to start from, weight decay, a regression policy?

The task: a state on a circle, two opposite modes of a 2-D action for each state ({task["turns"]} turns of the modes as the state goes round
once), an expert of standard deviation {task["std"]:g}, {task["demonstrations"]} demonstrations of {task["rows"]} row. An MLP denoiser
that predicts x0, VP cosine schedule, DDIM. {len(run.seeds)} seeds, each with its own demonstrations and initial weights; a figure is the
mean over seeds ± the standard deviation over seeds. A hit is an action within {HIT_RADIUS:g} of a mode (the expert itself: {expert["hits"]:.3f}).

## Flows
![Flows](flow.png)

Streamlines of the probability-flow ODE, run as sampling does, of the first seed and the state for which both networks keep both modes
best. Shaded is the sign of the largest eigenvalue of
sym J_x0 minus alpha: the region between the modes must expand if both are to be reached.

## Samples over training
![Samples](samples.png)

## Hit rate, sensitivity and spread
{tables}

- Lipschitz: largest singular value of the exact Jacobian of the 50-step sampler with respect to unit noise.
- std: over the noise for one state, both modes together (the expert: {expert["std"]:.3f}). Within: around the mean on the same side (the
  expert: {expert["within_std"]:g}); samples stranded between the modes count.
- Coverage: share of states for which each mode gets 10 % of the samples or more.
- Weight decay: {decays}. Half temperature: the baseline's own networks, noise scaled by 0.5; its Lipschitz constant is with
  respect to the noise before scaling.
- The exact denoiser knows the expert's distribution; what it lacks in few steps is the solver's, not a network's.

Policies without noise have a Lipschitz constant and a spread of zero by construction and keep one mode at most:
{flat_lines(results["without_noise"])}

Two-step regression is ours, after the minimal iterative policy (arXiv 2512.01809): the mean action for the state, then one refinement of
it, trained on expert actions with a little noise.

## At equal success
![Trade](trade.png)

For each seed the highest hit rate in 50 steps that both policies reach in training, and the figures of both where they first reach it,
interpolated between snapshots. A ratio is {OURS} / the other, its geometric mean over seeds; in brackets the seeds in which
{OURS} is smaller.

{comparison_table(results["at_equal_hits"], len(run.seeds))}

{verdict(results["at_equal_hits"], len(run.seeds))}

{without_noise(results, snapshots[-1])}

## What this does not show
- Two dimensions, one small network, {len(run.seeds)} seeds, one weight for each penalty, not tuned: an order of magnitude, not a ranking of
  penalties.
- A spread within a mode below the expert's {expert["within_std"]:g} is not a better policy by itself: it is less of the expert's variety. Whether a
  robot gains by it is for a task with a success of its own to say.
- With one row for each demonstrated state every network here can learn by heart which mode that state took.
- The 99.9 % figure comes from the few samples that start near the boundary between the modes; its spread over seeds is large.
"""


def policy_table(results: Mapping[str, Any], updates: int) -> str:
    """The main table at one snapshot."""
    exact = results["exact"]
    head = ["policy", "hits, 3 steps", "5 steps", "50 steps", "Lipschitz, median", "99.9 %", "std", "within", "coverage"]
    keys = ("hits_3", "hits_5", "hits_50"), ("lipschitz_median", "lipschitz_p999"), ("std",), ("within_std",), ("coverage",)
    rows = [["exact denoiser", *(f"{exact[key]:.2g}" if "lipschitz" in key else f"{exact[key]:.3f}" for group in keys for key in group)]]
    for name, by_updates in results["policies"].items():
        figures = by_updates[str(updates)]
        cells = [cell(figures[key]) for key in keys[0]] + [wide_cell(figures[key]) for key in keys[1]]
        rows.append([name, *cells, cell(figures["std"], 3), cell(figures["within_std"], 4), cell(figures["coverage"])])
    return table(head, rows)


def flat_lines(flat: Mapping[str, Any]) -> str:
    """Hit rates of the policies without noise."""
    zero, two = flat["zero temperature"], flat["two-step regression"]
    return (
        f"- diffusion from zero noise: hits {cell(zero['hits_3'])}, {cell(zero['hits_5'])} and {cell(zero['hits_50'])} in 3, 5 and 50 steps;\n"
        f"- two-step regression: hits {cell(two['hits'])}."
    )


def comparison_table(comparison: Mapping[str, Any], seeds: int) -> str:
    """Ratios at equal hits, one row for each other policy."""
    head = [f"{OURS} against", "at hit rate", "Lipschitz, median", "Lipschitz, 99.9 %", "std", "std within a mode"]
    rows = []
    for name, figures in comparison.items():
        cells = [f"{figures[key]['ratio']:.2g} ({figures[key]['smaller']} of {seeds})" for key in COMPARED]
        rows.append([name, cell(figures["hits_50"], 3), *cells])
    return table(head, rows)


def verdict(comparison: Mapping[str, Any], seeds: int) -> str:
    """In words: for which figures, and against whom, it is smaller in every seed, and for which it is not."""
    names = {
        "lipschitz_median": "the median Lipschitz constant",
        "lipschitz_p999": "its 99.9 % quantile",
        "std": "the std of actions over the noise",
        "within_std": "the std within a mode",
    }
    controls = ["diffusion", HALF, *DECAYS]
    lines = []
    for key, words in names.items():
        won = [other for other in controls if comparison[other][key]["smaller"] == seeds]
        lost = [other for other in controls if other not in won]
        text = f"- {words} is smaller in every seed than that of {_list(won)}" if won else f"- {words} is smaller in every seed than that of none"
        lines.append(text + (f"; not so against {_list(lost)}." if lost else ": all of them."))
    return f"At equal success, for {OURS} against diffusion and the controls with noise:\n" + "\n".join(lines)


def without_noise(results: Mapping[str, Any], updates: int) -> str:
    """Whether a control that has no spread at all reaches the same hit rate."""
    ours = results["policies"][OURS][str(updates)]["hits_50"]
    zero = results["without_noise"]["zero temperature"]["hits_50"]
    text = f"After {updates} updates diffusion from zero noise hits {cell(zero)} in 50 steps, {OURS} {cell(ours)}: "
    if zero["mean"] >= ours["mean"] - ours["std"]:
        return (
            text
            + "one who wants one action a state and no variety has it without a penalty, so a smaller spread by itself is no gain of contraction."
        )
    return text + "starting from zero noise costs hits here."


def _list(names: Sequence[str]) -> str:
    return "; ".join(names)
