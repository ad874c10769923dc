"""Study ``state-sensitivity``: what contraction in the noise does to the sensitivity to the state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cdp.config import to_mapping
from cdp.diffusion.schedule import Schedule
from cdp.studies.frame import Outcome, StudyRun, cell, spread, table, wide_cell
from cdp.studies.pairs import difference_cell, differences, ratio_cell
from cdp.studies.state_figures import draw_gains, draw_walks
from cdp.studies.state_measures import STATE_NOISES, StateBench, expert_gain
from cdp.studies.sweep import OURS, SNAPSHOTS, Weight, members_of, policies_of, sweep_stack
from cdp.studies.toy_config import Member
from cdp.studies.toy_policies import BASELINE, PENALTIES, WEIGHT_DECAYS, Bench, Policy, Scale, by_figure, train_stack
from cdp.studies.toy_task import ARCS, exact_denoiser

HALF = "half temperature"
STATE_GAMMA = 0.1
_NOISES, _WALK_STATES, _QUICK_WALK_STATES = 16, 360, 30


def study(run: StudyRun) -> Outcome:
    """Measure the sensitivity to the state of contractive policies, of diffusion and of the controls."""
    scale = Scale.of(run.quick, SNAPSHOTS)
    bench = StateBench(Bench.of(ARCS, scale), _NOISES, _QUICK_WALK_STATES if run.quick else _WALK_STATES)
    exact = Policy(exact_denoiser(ARCS, Schedule()))
    policies = {"exact": [exact], **policies_by_name(run, scale)}
    figures: dict[str, dict[str, Any]] = {}
    for name, each in policies.items():
        measured = by_figure([bench.measure(policy) for policy in each])
        figures[name] = {key: spread(values) for key, values in measured.items()}
    draw_gains(figures, expert_gain(ARCS), ARCS, run.out / "sensitivity.png")
    draw_walks({name: bench.walk(policies[name][0]) for name in ("exact", "diffusion", OURS, "state penalty")}, ARCS, run.out / "walk.png")
    results = {
        "task": to_mapping(ARCS),
        "updates": scale.snapshots[-1],
        "penalty": to_mapping(PENALTIES[OURS]),
        "expert": {"along": expert_gain(ARCS), "change": {f"{std:g}": expert_gain(ARCS) * std for std in STATE_NOISES}},
        "policies": figures,
    }
    medians = [f"{name} {cell(figures[name]['along_median'])}" for name in ("diffusion", OURS)]
    summary = f"median gain along the circle (expert {expert_gain(ARCS):g}): {'; '.join(medians)}"
    return Outcome(results, report(results, run), summary, failures(figures["exact"]))


def policies_by_name(run: StudyRun, scale: Scale) -> dict[str, list[Policy]]:
    """Every policy with a network, one a seed."""
    count = len(run.seeds)
    sweeps = {label: sweep_stack(label, run, scale) for label in (OURS, "cdp-hinge")}
    plain = policies_of(sweeps[OURS], members_of(Weight(0.0), count), scale)
    decays = train_stack(BASELINE, [Member(seed=seed, weight_decay=d) for d in WEIGHT_DECAYS for seed in run.seeds], scale, run.cache, ARCS)
    on_state = train_stack(PENALTIES[OURS], [Member(seed=seed, gamma=STATE_GAMMA) for seed in run.seeds], scale, run.cache, ARCS, penalised="state")
    return {
        "diffusion": plain,
        **{label: policies_of(stack, members_of(Weight(0.1), count), scale) for label, stack in sweeps.items()},
        HALF: [Policy(policy.denoise, 0.5) for policy in plain],
        **{f"weight decay, {d:g}": policies_of(decays, range(i * count, (i + 1) * count), scale) for i, d in enumerate(WEIGHT_DECAYS)},
        "state penalty": policies_of(on_state, range(count), scale),
    }


def failures(exact: Mapping[str, Any]) -> tuple[str, ...]:
    """What is wrong with the instruments, if anything: at a fixed noise the exact denoiser follows its mode as the expert does."""
    error = exact["error"]["mean"]
    return () if error < 0.25 else (f"the exact denoiser's derivative is off the expert's by {error:.2f} of it",)


def report(results: Mapping[str, Any], run: StudyRun) -> str:
    """The study's README."""
    expert, decays = results["expert"], ", ".join(f"{d:g}" for d in WEIGHT_DECAYS)
    return f"""# Sensitivity to the state

## Asked
The penalty holds the state fixed and makes the action less sensitive to the noise. What becomes of the sensitivity to the state, which a policy
needs? At fixed noise, the action is smooth in the state except where it changes its mode: both parts are measured apart. The 2-D toy of
[toy](../toy/README.md) with modes that turn once and demonstrations of {ARCS.rows} rows, {results["updates"]} updates, {len(run.seeds)} seeds;
networks of gamma 0 and 0.1 are those of [gamma](../gamma/README.md).

Controls: the baseline's networks at half temperature; weight decay ({decays}); and `state penalty`, the same penalty (gamma {STATE_GAMMA:g}) on the
Jacobian of x0 with respect to the state in place of that to the noisy action.

## Came out
![Sensitivity of each policy](sensitivity.png)

- Gain along the circle: change of the sampled action by unit change of the state's angle, from the exact Jacobian through the sampler in
  {Scale.of(run.quick).lipschitz_steps} DDIM steps. The expert's is radius times turns, {expert["along"]:g}, and its mode stays. The 99.9 % is
  of a finite set of states: it misses a jump narrower than their distances, and is to be read beside the number of switches.
- Across: by unit change of the state's distance from the origin, which no demonstration shows; 0 for the expert.
- Slope error: distance of the derivative from that of the mode that is hit, relative to the expert's; median over the actions that hit.
- Switches: changes of the mode in one turn at fixed noise, in steps of {360 / _WALK_STATES:g} degree. The exact denoiser itself switches twice for
  each turn of the modes: one noise lies nearer to one mode here, to the other there.
- Path: how far the action moves in a turn, relative to the expert; smooth is without the steps in which the mode switches.

{gains_table(results["policies"])}

With noise on the state (standard deviation {" and ".join(f"{std:g}" for std in STATE_NOISES)} on each axis, the circle's radius being 1): share of
actions that change their mode, and root mean square change of the others; the expert's is
{" and ".join(f"{value:.3f}" for value in expert["change"].values())}.

{noise_table(results["policies"])}

{verdict(results["policies"], len(run.seeds))}

![The action over one turn of the state, at fixed noise](walk.png)

First coordinate of the action over one turn of the state, the first seed's networks, one line for each of four noises; dotted: the two modes.

## What this does not show
- A state of two exact numbers: images, and states of which only a part matters, have directions that a policy should not follow.
- Success in a closed loop, where a switch of mode between two plans is what hurts.
- One weight for each penalty; the state penalty is a control, not tuned.
"""


def gains_table(policies: Mapping[str, Any]) -> str:
    """Gains and switches of every policy."""
    head = ["policy", "hits", "along, median", "99.9 %", "slope error", "across, median", "switches a turn", "path, smooth", "path, whole"]
    rows = []
    for name, each in policies.items():
        cells = [
            cell(each["hits_50"]),
            cell(each["along_median"]),
            wide_cell(each["along_p999"]),
            cell(each["error"], 3),
            cell(each["across_median"]),
        ]
        rows.append([name, *cells, *(cell(each[key]) for key in ("switches", "smooth_length", "length"))])
    return table(head, rows)


def noise_table(policies: Mapping[str, Any]) -> str:
    """What noise on the state does to every policy."""
    head = ["policy", *(f"{words}, noise {std:g}" for std in STATE_NOISES for words in ("switched", "change of the others"))]
    rows = []
    for name, each in policies.items():
        rows.append([name, *(cell(each[f"{key}_{std:g}"], 4) for std in STATE_NOISES for key in ("flips", "change"))])
    return table(head, rows)


def verdict(policies: Mapping[str, Any], seeds: int) -> str:
    """Each contractive policy and control against diffusion, seed by seed."""
    base = policies["diffusion"]
    head = ["against diffusion", "along, median", "99.9 %", "slope error", "switches a turn", f"change, noise {STATE_NOISES[-1]:g}"]
    rows = []
    for name, each in policies.items():
        if name not in ("exact", "diffusion"):
            ratios = [ratio_cell(each[key], base[key]) for key in ("along_median", "along_p999", "error")]
            rows.append([name, *ratios, difference_cell(each["switches"], base["switches"], 2), _change(each, base)])
    ours = policies[OURS]
    words = {"along_median": "median gain", "along_p999": "99.9 % gain", "error": "slope error", "switches": "number of switches"}
    less = [text for key, text in words.items() if max(differences(ours[key], base[key])) < 0.0]
    more = [text for key, text in words.items() if min(differences(ours[key], base[key])) > 0.0]
    return (
        f"Seed by seed: ratios as geometric means, switches as a difference.\n\n{table(head, rows)}\n\n"
        f"{OURS} against diffusion, in every one of {seeds} seeds: smaller {_listed(less)}; larger {_listed(more)}."
    )


def _change(each: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    key = f"change_{STATE_NOISES[-1]:g}"
    return ratio_cell(each[key], base[key]) if math.isfinite(base[key]["mean"]) else ""


def _listed(words: list[str]) -> str:
    return ", ".join(words) if words else "none"
