"""Study ``cross-schedule``: noise paths on the toy, each trained with and without the penalty, and each sampled along the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from cdp.config import to_mapping
from cdp.diffusion.paths import EDM, FlowMatching, PathConfig, VPLinear
from cdp.diffusion.prediction import standardised
from cdp.diffusion.schedule import Schedule
from cdp.studies.carry import carried
from cdp.studies.cross_schedule_figures import draw_cross, draw_own
from cdp.studies.frame import Outcome, StudyRun, cell, spread, table, wide_cell
from cdp.studies.measures import hit_rate
from cdp.studies.pairs import difference_cell, ratio_cell
from cdp.studies.toy_cache import Trained
from cdp.studies.toy_config import Member
from cdp.studies.toy_policies import PENALTIES, STEPS, Bench, Policy, Scale, measure_seeds, train_stack
from cdp.studies.toy_task import ARCS, exact_denoiser

OURS = "cdp-saturating"
POLICIES = ("diffusion", OURS)
PATHS: dict[str, PathConfig] = {"VP cosine": Schedule(), "VP linear": VPLinear(), "EDM": EDM(), "flow matching": FlowMatching()}
CROSSED = ("hits_3", "hits_5", "hits_50", "lipschitz_median")
_NOISES, _CROSS_NOISES = 16, 4
_TOLERANCE = 0.03


def study(run: StudyRun) -> Outcome:
    """Train on every path, measure each along its own path and along the others."""
    scale = Scale.of(run.quick, (1000, 2000))
    penalty = PENALTIES[OURS]
    members = [Member(seed=seed, gamma=gamma) for gamma in (0.0, penalty.first_gamma) for seed in run.seeds]
    own: dict[str, dict[str, Any]] = {}
    cross: dict[str, dict[str, Any]] = {}
    exact: dict[str, dict[str, float]] = {}
    for name, path in PATHS.items():
        stack = train_stack(penalty, members, scale, run.cache, ARCS, schedule=path, standardised=True)
        bench = bench_on(path, scale)
        exact[name] = bench.measure(Policy(exact_denoiser(ARCS, path)), _CROSS_NOISES)
        policies = by_policy(stack, path, scale, len(run.seeds))
        own[name] = {policy: measure_seeds(bench, each, _NOISES) for policy, each in policies.items()}
        cross[name] = {policy: {other: crossed(each, path, PATHS[other], scale) for other in PATHS} for policy, each in policies.items()}
    draw_own(PATHS, own, exact, run.out / "paths.png")
    draw_cross(list(PATHS), POLICIES, cross, run.out / "cross.png")
    results = {
        "task": to_mapping(ARCS),
        "updates": scale.snapshots[-1],
        "penalty": to_mapping(penalty),
        "paths": {name: to_mapping(path) for name, path in PATHS.items()},
        "exact": exact,
        "own": own,
        "cross": cross,
    }
    rates = "; ".join(f"{name} {own[name]['diffusion']['hits_5']['mean']:.2f} and {own[name][OURS]['hits_5']['mean']:.2f}" for name in PATHS)
    return Outcome(results, report(results, run), f"hits in 5 steps, diffusion and {OURS}: {rates}", failures(exact))


def bench_on(path: PathConfig, scale: Scale) -> Bench:
    """The common states and unit noise, sampled along ``path``."""
    return dataclasses.replace(Bench.of(ARCS, scale), schedule=path)


def by_policy(stack: Trained, path: PathConfig, scale: Scale, seeds: int) -> dict[str, list[Policy]]:
    """The policies of a stack, one a seed, as denoisers on the path that they were trained on."""
    last = scale.snapshots[-1]
    each = [Policy(standardised(stack.denoiser(member, last), path)) for member in range(seeds * len(POLICIES))]
    return {policy: each[i * seeds : (i + 1) * seeds] for i, policy in enumerate(POLICIES)}


def crossed(policies: list[Policy], source: PathConfig, target: PathConfig, scale: Scale) -> dict[str, Any]:
    """Figures of denoisers of ``source`` that are sampled along ``target``, each with its spread over seeds."""
    bench = bench_on(target, scale)
    moved = [Policy(carried(policy.denoise, source, target)) for policy in policies]
    figures = {f"hits_{k}": [hit_rate(bench.actions(policy, k), bench.mode) for policy in moved] for k in STEPS}
    figures["lipschitz_median"] = [float(bench.lipschitz(policy, _CROSS_NOISES).median()) for policy in moved]
    return {name: spread(values) for name, values in figures.items()}


def failures(exact: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
    """Paths along which the exact denoiser does not do what the expert does."""
    return tuple(
        f"along {name} the exact denoiser hits {figures['hits_50']:.3f} in 50 steps where the expert hits {ARCS.hit_rate:.3f}"
        for name, figures in exact.items()
        if figures["hits_50"] < ARCS.hit_rate - _TOLERANCE
    )


def report(results: Mapping[str, Any], run: StudyRun) -> str:
    """The study's README."""
    head = ["path", "policy", "hits, 3 steps", "5 steps", "50 steps", "Lipschitz, median", "99.9 %", "std", "within a mode", "coverage"]
    rows = []
    for name, policies in results["own"].items():
        exact = results["exact"][name]
        cells = [f"{exact[f'hits_{k}']:.2f}" for k in STEPS] + [f"{exact[key]:.2g}" for key in ("lipschitz_median", "lipschitz_p999")]
        rows.append([name, "exact", *cells, f"{exact['std']:.3f}", f"{exact['within_std']:.4f}", f"{exact['coverage']:.2f}"])
        for policy, figures in policies.items():
            cells = [cell(figures[f"hits_{k}"]) for k in STEPS] + [wide_cell(figures[key]) for key in ("lipschitz_median", "lipschitz_p999")]
            rows.append([name, policy, *cells, cell(figures["std"], 3), wide_cell(figures["within_std"]), cell(figures["coverage"])])
    return f"""# Noise paths, and denoisers carried from one to another

## Asked
Is what contraction does a matter of the noise path? And what becomes of a denoiser that is sampled along a path it was not trained on? The 2-D
toy of [toy](../toy/README.md) with modes that turn once and demonstrations of {ARCS.rows} rows, on four paths: VP cosine, VP linear, EDM, flow
matching. {results["updates"]} updates, {len(run.seeds)} seeds, the same demonstrations, initial weights and noise on every path; DDIM.

Every path is a change of time and of scale: with lambda = ln(alpha / sigma), a noisy action `a` at time s of path Q says what `k a` says at the
time t of path P that has the same lambda, k = sqrt(alpha_P² + sigma_P²) / sqrt(alpha_Q² + sigma_Q²), so that `x0_Q(a, s) = x0_P(k a, t)`. That
carries any denoiser over, and the exact one becomes the exact one there (a test). A DDIM step reads
`a_s / sigma_s = a_t / sigma_t + (exp(lambda_s) - exp(lambda_t)) x0`: at the same lambdas every path gives the same actions (a test). What tells
paths apart is therefore two things: **at which noise levels they train**, and **where their grid puts the steps**.

So the network sees the standardised state `a / sqrt(alpha² + sigma²)` and the angle atan(sigma / alpha), whose units are the same on every path,
and the penalty ({OURS}, gamma {results["penalty"]["gamma"]:g}) is taken with respect to that state, at the noise levels of VP cosine: with
respect to EDM's own state, whose noise reaches 80, the same weight would be another penalty.

## Came out
![Noise levels of each path, and each policy along its own path](paths.png)

Left: the middle 50 % (thick) and 90 % (thin) of the noise levels that a path trains at, and the levels at which its 5 steps evaluate the network.

{table(head, rows)}

{own_findings(results["own"])}

![Denoisers trained on one path (rows), sampled along another (columns)](cross.png)

{cross_findings(results["cross"])}

## What this does not show
- The common choices of each path's training density and grid, which are settings, not the path: with those of another, it would be the other.
- Networks that see the path's own state and time, or that predict noise or velocity: their errors differ by path.
- Two dimensions, one length of training, one weight of the penalty; hits in 50 steps are near 1 for all.
"""


def own_findings(own: Mapping[str, Any]) -> str:
    """Ours against diffusion on each path, seed by seed."""
    head = ["path", "Lipschitz, median", "99.9 %", "std within a mode", "hits, 5 steps", "coverage"]
    rows = []
    for name, policies in own.items():
        ours, other = policies[OURS], policies["diffusion"]
        cells = [ratio_cell(ours[key], other[key]) for key in ("lipschitz_median", "lipschitz_p999", "within_std")]
        rows.append([name, *cells, *(difference_cell(ours[key], other[key]) for key in ("hits_5", "coverage"))])
    words = f"{OURS} against diffusion, seed by seed: first ratios (geometric mean over seeds), then differences."
    return f"{words}\n\n{table(head, rows)}"


def cross_findings(cross: Mapping[str, Any]) -> str:
    """For each policy: which training and which grid hit most in 5 steps, and what the change of path costs."""
    lines = []
    for policy in POLICIES:
        five = {(source, target): cross[source][policy][target]["hits_5"]["mean"] for source in PATHS for target in PATHS}
        best, worst = max(five, key=lambda pair: five[pair]), min(five, key=lambda pair: five[pair])
        by_training = [max(five[s, t] for s in PATHS) - min(five[s, t] for s in PATHS) for t in PATHS]
        by_grid = [max(five[s, t] for t in PATHS) - min(five[s, t] for t in PATHS) for s in PATHS]
        away = max(abs(cross[s][policy][t]["hits_50"]["mean"] - cross[s][policy][s]["hits_50"]["mean"]) for s in PATHS for t in PATHS)
        lines.append(
            f"- {policy}: in 5 steps the most hits are {five[best]:.2f}, trained on {best[0]} and sampled along {best[1]}; the fewest "
            f"{five[worst]:.2f}, trained on {worst[0]} and sampled along {worst[1]}. Another path to sample along moves the hits by "
            f"{min(by_grid):.2f} to {max(by_grid):.2f}, another path to train on by {min(by_training):.2f} to {max(by_training):.2f}. "
            f"In 50 steps another path to sample along moves them by {away:.2f} at most."
        )
    return "\n".join(lines)
