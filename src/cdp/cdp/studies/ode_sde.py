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
from cdp.studies.frame import Outcome, StudyRun, spread
from cdp.studies.measures import coverage, hit_rate, sampler_of, seed_std, within_std
from cdp.studies.noise_paths import noise_gains, noise_path_sampler
from cdp.studies.ode_sde_figures import draw_gains, draw_steps
from cdp.studies.ode_sde_report import report
from cdp.studies.sweep import OURS, SNAPSHOTS, Weight, members_of, policies_of, sweep_stack
from cdp.studies.toy_policies import PENALTIES, Bench, Policy, Scale, by_figure
from cdp.studies.toy_task import ARCS, exact_denoiser

COUNTS = (3, 5, 10, 20, 50)
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
    draw_gains(sizes, [s.name for s in SOLVERS], run.out / "gains.png")
    expert = {"hits": ARCS.hit_rate, "std": ARCS.action_std, "within_std": ARCS.std}
    expert |= {"energy": float(own.mean()), "energy_error": float(own.std()) / math.sqrt(len(own))}
    draw_steps(figures, [s.name for s in SOLVERS], COUNTS, expert, run.out / "steps.png")
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
        f"{solver} in {COUNTS[-1]} steps of the exact denoiser hits {rate:.3f}, the expert {ARCS.hit_rate:.3f}"
        for solver, by_steps in exact.items()
        if (rate := by_steps[str(COUNTS[-1])]["hits"]["mean"]) < ARCS.hit_rate - _TOLERANCE
    )
