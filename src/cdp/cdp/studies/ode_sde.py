"""Study ``ode-sde``: the same networks sampled by deterministic and by stochastic solvers, with and without contraction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from cdp.config import to_mapping
from cdp.diffusion.sampler import STOCHASTIC
from cdp.diffusion.schedule import Schedule
from cdp.studies.distances import energy_distance, expert_actions
from cdp.studies.frame import Outcome, StudyRun, cell, spread, table, wide_cell
from cdp.studies.measures import coverage, hit_rate, sampler_of, seed_std, within_std
from cdp.studies.noise_paths import noise_gains, noise_path_sampler
from cdp.studies.ode_sde_figures import draw_gains, draw_steps
from cdp.studies.pairs import difference_cell, ratio_cell
from cdp.studies.sweep import OURS, SNAPSHOTS, Weight, members_of, policies_of, sweep_stack
from cdp.studies.toy_policies import PENALTIES, Bench, Policy, Scale, by_figure
from cdp.studies.toy_task import ARCS, exact_denoiser

COUNTS = (3, 5, 10, 20, 50)
_MOST = COUNTS[-1]
_EXPERT_DRAWS, _EXPERT_SEED = 256, 20_240_603
_GAIN_NOISES = 8
_TOLERANCE = 0.05


@dataclass(frozen=True)
class Solver:
    """A solver and, for a stochastic one, how much noise it adds."""

    solver: str
    eta: float = 0.0

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.solver}, eta {self.eta:g}" if self.solver in STOCHASTIC else self.solver


SOLVERS = (
    Solver("ddim"),
    Solver("dpmpp_2m"),
    Solver("heun"),
    Solver("euler"),
    Solver("ancestral", 0.5),
    Solver("ancestral", 1.0),
    Solver("euler_maruyama", 0.5),
    Solver("euler_maruyama", 1.0),
)


def study(run: StudyRun) -> Outcome:
    """Every solver at every step count on the same networks and states."""
    scale = Scale.of(run.quick, SNAPSHOTS)
    bench = Bench.of(ARCS, scale)
    stack, count = sweep_stack(OURS, run, scale), len(run.seeds)
    weights = {"diffusion": Weight(0.0), OURS: Weight(0.1)}
    policies = {name: policies_of(stack, members_of(weight, count), scale) for name, weight in weights.items()}
    policies = {"exact": [Policy(exact_denoiser(ARCS, Schedule()))], **policies}
    generator = torch.Generator().manual_seed(_EXPERT_SEED)
    draws = expert_actions(ARCS, bench.states, _EXPERT_DRAWS, generator)
    own = energy_distance(expert_actions(ARCS, bench.states, scale.noises, generator), draws)
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    sizes: dict[str, dict[str, Any]] = {}
    for name, each in policies.items():
        measured = {s.name: {str(k): [measure(bench, p, s, k, draws) for p in each] for k in COUNTS} for s in SOLVERS}
        figures[name] = {s: {k: spread_of(values) for k, values in by_steps.items()} for s, by_steps in measured.items()}
        sizes[name] = {s.name: spread_of([gains(bench, policy, s) for policy in each]) for s in SOLVERS}
    draw_steps(figures, [s.name for s in SOLVERS], COUNTS, {"hits": ARCS.hit_rate, "within_std": ARCS.std}, run.out / "steps.png")
    draw_gains(sizes, [s.name for s in SOLVERS], run.out / "gains.png")
    expert = {"hits": ARCS.hit_rate, "std": ARCS.action_std, "within_std": ARCS.std}
    expert |= {"energy": float(own.mean()), "energy_error": float(own.std()) / math.sqrt(len(own))}
    results = {
        "task": to_mapping(ARCS),
        "updates": scale.snapshots[-1],
        "penalty": to_mapping(PENALTIES[OURS]),
        "expert": expert,
        "policies": figures,
        "gains": sizes,
    }
    ten = {name: [by_solver[s]["10"]["hits"]["mean"] for s in ("ddim", "ancestral, eta 1")] for name, by_solver in figures.items()}
    summary = "; ".join(f"{name} hits {each[0]:.2f} by ddim, {each[1]:.2f} by ancestral" for name, each in ten.items())
    return Outcome(results, report(results, run), f"in 10 steps {summary}", failures(figures["exact"]))


def measure(bench: Bench, policy: Policy, solver: Solver, steps: int, draws: torch.Tensor) -> dict[str, float]:
    """Hits, variety, and the distance to the expert's draws (S, W, 2), of a policy by one solver in ``steps`` steps."""
    actions = bench.actions(policy, steps, solver.solver, solver.eta)
    return {
        "hits": hit_rate(actions, bench.mode),
        "coverage": coverage(actions, bench.mode),
        "std": seed_std(actions),
        "within_std": within_std(actions, bench.mode),
        "energy": float(energy_distance(actions, draws).mean()),
    }


def gains(bench: Bench, policy: Policy, solver: Solver) -> dict[str, float]:
    """Median and 99.9 % of the sampler's Lipschitz constant to its first noise, the steps' noise held, and to all of its noise."""
    noises = min(_GAIN_NOISES, bench.noise.shape[1])
    cond = bench.states.repeat_interleave(noises, 0)
    first = bench.noise[:, :noises].flatten(0, 1)
    steps = bench.lipschitz_steps
    if solver.solver in STOCHASTIC:
        rest = torch.randn((len(first), steps, 2), generator=torch.Generator().manual_seed(_EXPERT_SEED))
        fn = noise_path_sampler(policy.denoise, cond, steps, solver.solver, bench.schedule, solver.eta)
        start, total = noise_gains(fn, torch.cat([first, rest], dim=1))
    else:
        start, total = noise_gains(sampler_of(policy.denoise, cond, steps, solver.solver, bench.schedule), first)
    named = {"start_median": start.median(), "start_p999": start.quantile(0.999), "all_median": total.median(), "all_p999": total.quantile(0.999)}
    return {name: float(value) for name, value in named.items()}


def spread_of(measured: list[dict[str, float]]) -> dict[str, Any]:
    """Figures of one policy a seed, each with its spread over seeds."""
    return {name: spread(values) for name, values in by_figure(measured).items()}


def failures(exact: Mapping[str, Any]) -> tuple[str, ...]:
    """Solvers that do not bring the exact denoiser to the expert's hit rate in the most steps."""
    return tuple(
        f"{solver} in {_MOST} steps of the exact denoiser hits {rate:.3f}, the expert {ARCS.hit_rate:.3f}"
        for solver, by_steps in exact.items()
        if (rate := by_steps[str(_MOST)]["hits"]["mean"]) < ARCS.hit_rate - _TOLERANCE
    )


def report(results: Mapping[str, Any], run: StudyRun) -> str:
    """The study's README."""
    policies, sizes, expert = results["policies"], results["gains"], results["expert"]
    steps = "\n\n".join(f"{count} steps:\n\n{steps_table(policies, str(count))}" for count in (5, 20, 50))
    return f"""# Sampling the ODE or the SDE

## Asked
A stochastic solver adds noise at each step and takes it away again. Does it still, once a denoiser contracts? And is a contractive sampler a
better one by either? The networks of [gamma](../gamma/README.md) (modes that turn once, demonstrations of {ARCS.rows} rows, {results["updates"]}
updates, gamma 0 and 0.1) and the exact denoiser, by each solver; {len(run.seeds)} seeds.

## Came out
![Success, spread within a mode and distance to the expert by steps](steps.png)

Energy: squared energy distance of a policy's actions to the expert's for the same state, mean over states; 0 where the distributions are equal.
As many actions of the expert itself come out at {expert["energy"]:.4f}, with a standard error of {expert["energy_error"]:.4f}. The expert hits
{expert["hits"]:.3f} with a std within a mode of {expert["within_std"]:g}. `euler_maruyama` with eta 0 is `euler`, `ancestral` with eta 0 is
`ddim`; `heun` evaluates the network twice a step. Mean ± standard deviation over seeds.

{steps}

{solver_lines(policies)}

### Sensitivity with common random numbers
![Lipschitz constants by solver](gains.png)

Largest singular value of the exact Jacobian of the sampler in {Scale.of(run.quick).lipschitz_steps} steps: to the noise that it starts from,
with the noise of the steps held (the same random numbers), and to all of its unit noise together. A stochastic solver forgets its start, so that
the first is small whatever the denoiser; the second is what compares with an ODE's. For Gaussian data of standard deviation s the second is s
for either (a test).

{gains_table(sizes)}

## What this does not show
- One task, one schedule, one time grid for every solver, and 50 steps at most: stochastic solvers want more.
- Variety of the networks is low to begin with (see [diversity](../diversity/README.md)): what noise a stochastic solver leaves in a sample looks
  like variety to the distance, and may be closer to the expert's by accident.
- Noise that a robot's policy draws anew each time it plans makes successive plans differ, which no figure here counts.
"""


def steps_table(policies: Mapping[str, Any], count: str) -> str:
    """Every policy and solver at one step count."""
    head = ["policy", "solver", "hits", "coverage", "std", "std within a mode", "energy"]
    rows = []
    for name, by_solver in policies.items():
        for solver, by_steps in by_solver.items():
            each = by_steps[count]
            if name == "exact":
                cells = [f"{each[key]['mean']:.{digits}f}" for key, digits in _DIGITS.items()]
            else:
                cells = [cell(each[key], digits) for key, digits in _DIGITS.items()]
            rows.append([name, solver, *cells])
    return table(head, rows)


_DIGITS = {"hits": 2, "coverage": 2, "std": 3, "within_std": 4, "energy": 4}


def solver_lines(policies: Mapping[str, Any]) -> str:
    """Ours against diffusion by solver, at few steps and many."""
    head = ["solver", "hits, 5 steps", "20 steps", "energy, 5 steps", "20 steps", "50 steps"]
    rows = []
    for solver in policies[OURS]:
        ours, other = policies[OURS][solver], policies["diffusion"][solver]
        cells = [difference_cell(ours[k]["hits"], other[k]["hits"]) for k in ("5", "20")]
        rows.append([solver, *cells, *(difference_cell(ours[k]["energy"], other[k]["energy"], 4) for k in ("5", "20", "50"))])
    best = []
    for name in policies:
        least = min(policies[name], key=lambda solver: policies[name][solver][str(_MOST)]["energy"]["mean"])
        best.append(f"{name} by {least} ({policies[name][least][str(_MOST)]['energy']['mean']:.4f})")
    return (
        f"{OURS} minus diffusion, seed by seed:\n\n{table(head, rows)}\n\nClosest to the expert's distribution in {_MOST} steps: {', '.join(best)}."
    )


def gains_table(sizes: Mapping[str, Any]) -> str:
    """Lipschitz constants of every policy and solver, and ours against diffusion."""
    head = ["solver", "policy", "to the start, median", "99.9 %", "to all noise, median", "99.9 %", f"all, median: {OURS} / diffusion"]
    rows = []
    for solver in sizes[OURS]:
        for name in sizes:
            each = sizes[name][solver]
            cells = [wide_cell(each[key]) for key in ("start_median", "start_p999", "all_median", "all_p999")]
            against = ratio_cell(each["all_median"], sizes["diffusion"][solver]["all_median"]) if name == OURS else ""
            rows.append([solver, name, *cells, against])
    return table(head, rows)
