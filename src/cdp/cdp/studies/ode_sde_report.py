"""The README of the study ``ode-sde``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdp.diffusion.sampler import sampler_steps
from cdp.diffusion.schedule import Schedule
from cdp.studies.frame import StudyRun, cell, table, wide_cell
from cdp.studies.pairs import difference_cell, ratio_cell
from cdp.studies.sweep import OURS
from cdp.studies.toy_policies import Scale
from cdp.studies.toy_task import ARCS

#: The most steps of the study, which the README looks at closest.
MOST = 50


def report(results: Mapping[str, Any], run: StudyRun) -> str:
    """The study's README."""
    policies, sizes, expert = results["policies"], results["gains"], results["expert"]
    steps = "\n\n".join(f"{count} steps:\n\n{steps_table(policies, str(count))}" for count in (5, 50))
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

The last step of `heun`, `euler` and `euler_maruyama` is Euler's, which on this path keeps {left_over():.3f} of the noise at the 50th step whatever
the denoiser: a floor of their spread and of their Lipschitz constants that no contraction lowers. `ddim` and `dpmpp_2m`, which robots run, have
none.

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
        least = min(policies[name], key=lambda solver: policies[name][solver][str(MOST)]["energy"]["mean"])
        best.append(f"{name} by {least} ({policies[name][least][str(MOST)]['energy']['mean']:.4f})")
    return f"{OURS} minus diffusion, seed by seed:\n\n{table(head, rows)}\n\nClosest to the expert's distribution in {MOST} steps: {', '.join(best)}."


def left_over() -> float:
    """Part of unit noise that the last Euler step to t = 0 leaves in the action, of the most steps."""
    path = Schedule()
    last = sampler_steps(MOST, "euler", path)[-1]
    return float(last.r * path.sigma(last.t))


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
