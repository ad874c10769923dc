"""What the study of slide came to, in words and tables that follow from its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cdp.studies.frame import StudyRun, cell, short, table, wide_cell
from cdp.studies.slide_policies import DIFFUSION, HALF, OURS, REGRESSION, ZERO

#: What a contractive sampler promises to make smaller, and how a table calls it.
COMPARED = {
    "lipschitz_median": "Lipschitz, median",
    "lipschitz_p99": "Lipschitz, 99 %",
    "sigma_max_max": "sigma_max, largest",
    "std": "std over noise",
    "jitter_mm": "jitter",
}


def compare(ours: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Of each of :data:`COMPARED` and the action error, over the seeds that both have.

    ``ratio`` is the geometric mean of ours / the other's, ``smaller`` counts the seeds in which ours is smaller.
    """
    found = {}
    for key in (*COMPARED, "action_error"):
        pairs = list(zip(ours[key]["seeds"], other[key]["seeds"], strict=False))
        logs = [math.log(max(a, 1e-12) / max(b, 1e-12)) for a, b in pairs]
        found[key] = {"ratio": math.exp(math.fsum(logs) / len(logs)), "smaller": sum(a < b for a, b in pairs), "seeds": len(pairs)}
    return found


def report(results: Mapping[str, Any], counts: Sequence[int], run: StudyRun) -> str:
    """The study's README."""
    training, measuring = results["training"], results["measuring"]
    denoiser = training["denoiser"]
    return f"""# Slide: contraction on the task itself

## Asked
On pushing a block with a Franka, at equal success: has the sampler of a contractive policy a smaller Lipschitz ratio and less variance over
its noise than plain diffusion, and than what else shrinks a spread: a lower temperature, weight decay, a regression policy, no noise at
all? And what do `every` and `fraction`, which make the penalty cheap, cost in contraction?

The penalty never trains the encoder, so one encoder stands behind every policy here: that of models/slide, frozen. It was trained jointly
with a denoiser that was penalised. The denoisers here are new: {denoiser["kind"]}, width {denoiser["width"]}, depth {denoiser["depth"]}, x0.
They are trained for {training["steps"]} steps of {training["batch_size"]} windows with {training["noise_samples"]} noise draws each,
on conditions of {training["encoder_draws"]} kept random crops of each window, once for each of {len(run.seeds)} seeds
(initial weights, order of the data, noise); there is one encoder and one set of demonstrations.
Figures are of {measuring["observations"]} validation windows with {measuring["noise_seeds"]} noise seeds each,
the same for every policy; the action error is of the whole validation split.

## Came out
{verdict(results, counts)}

![Policies](policies.png)

{policy_tables(results["policies"], counts)}

- Lipschitz: `|Phi(x) - Phi(y)| / |x - y|` of the whole sampler for tiny pairs of unit noise in random directions; sigma_max: the largest
  singular value of its exact Jacobian, over {measuring["exact_jacobians"]} observations. Half temperature, too, is measured against unit noise.
- std: of the normalised chunk over the noise. Jitter: standard deviation over the noise of the first position of a chunk, what a hand that
  is replanned does by chance.
- Violation: share of points on 10-step paths where the sampling ODE expands in some direction.
- Success: {success_text(results)}
- Half temperature and zero noise: the baseline's own networks. Two-step regression is ours, after the minimal iterative policy
  (arXiv 2512.01809). It and zero noise have no spread by construction; their rows are for error and success.

### {OURS} against the others
{comparison_table(results["against"], counts)}

A ratio is {OURS} / the other, its geometric mean over the seeds that both have; in brackets the seeds in which {OURS} is smaller.

### Every and fraction
![Settings](settings.png)

{settings_table(results["settings"], counts)}

One seed. Overhead: what the penalty added to the time of a training; on a busy machine, so a rough figure.

{end_to_end_text(results["end_to_end"], str(counts[0]))}
## What this does not show
- One task, one encoder, denoisers smaller than the deployed one and trained more briefly, a penalty's weight that was not tuned.
- Episodes with success and failure tell policies apart only where their rates differ by tens of per cent: intervals are that wide.
- Weight decay 1 is the largest that a training configuration takes, and in so few steps it decays little; a longer training could differ.
- Jitter below what the arm and its controller follow is no gain that a user feels. What noise costs in an episode is not measured here.
- The demonstrations are a scripted operator's, with one way to act in nearly every state: a policy that ignores its noise loses nothing
  here, and where there are several ways it would.
"""


def verdict(results: Mapping[str, Any], counts: Sequence[int]) -> str:
    """Sentences that hold whatever the numbers are."""
    policies, few = results["policies"], str(counts[0])
    lines = [_held(results["against"], steps) for steps in counts]
    ours, base = (policies[name][few] for name in (OURS, DIFFUSION))
    lines.append(
        f"- In size, in {few} steps: the chance in the first position of a chunk is {wide_cell(ours['jitter_mm'])} mm with {OURS} and "
        f"{wide_cell(base['jitter_mm'])} mm\n  with {DIFFUSION}."
    )
    errors = [f"{name} {cell(policies[name][few]['action_error'], 4)}" for name in (OURS, DIFFUSION, HALF, ZERO, REGRESSION)]
    lines.append(f"- Validation action error in {few} steps: {', '.join(errors[:2])};\n  {', '.join(errors[2:])}.")
    won = [f"{name} {success_cell(policies[name]['success'])}" for name in policies if policies[name]["success"] is not None]
    if won:
        lines.append(f"- Success: {', '.join(won[:2])};\n  {', '.join(won[2:])}.")
    most = short(ours["sigma_max_max"]["mean"], 2)
    lines.append(
        f"- The most that any direction of the noise is stretched is {most} with {OURS} in {few} steps. Where that is far below 1,\n"
        "  the policy is a function of the observation with hardly any chance in it. Two-step regression and zero noise, which have none, are what\n"
        "  it has to be compared with, and they need no penalty."
    )
    return "\n".join(lines)


def _held(against: Mapping[str, Any], steps: int) -> str:
    """In which of :data:`COMPARED` ours is smaller in every seed than each of the others, and in which not."""
    failed: dict[str, list[str]] = {}
    for key, label in COMPARED.items():
        for name, by_steps in against.items():
            if by_steps[str(steps)][key]["smaller"] < by_steps[str(steps)][key]["seeds"]:
                failed.setdefault(name, []).append(label)
    if not failed:
        return f"- In {steps} steps every measure of sensitivity is smaller with {OURS} in every seed: against {', '.join(against)}."
    missing = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in failed.items())
    return f"- In {steps} steps these are not smaller with {OURS} in every seed, against {missing}; the others are."


def policy_tables(policies: Mapping[str, Any], counts: Sequence[int]) -> str:
    """One table for each number of steps."""
    parts = []
    for steps in counts:
        first = steps == counts[0]
        head = ["policy", *COMPARED.values(), "action error", *(["violation", "success"] if first else [])]
        rows = []
        for name, by_steps in policies.items():
            figures = by_steps[str(steps)]
            still = name in (REGRESSION, ZERO)
            cells = ["0" if still else wide_cell(figures[key]) for key in COMPARED]
            extra = [wide_cell(by_steps["violation"]) if "violation" in by_steps else "-", success_cell(by_steps["success"])] if first else []
            rows.append([name, *cells, cell(figures["action_error"], 4), *extra])
        parts.append(f"In {steps} steps (std in normalised actions, jitter in mm):\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def success_cell(success: Mapping[str, Any] | None) -> str:
    """Successes of trials and the interval."""
    if success is None:
        return "not run"
    low, high = (100 * bound for bound in success["wilson_95"])
    return f"{success['successes']}/{success['trials']} ({low:.0f}-{high:.0f} %)"


def success_text(results: Mapping[str, Any]) -> str:
    """How success was measured, where it was."""
    if all(figures["success"] is None for figures in results["policies"].values()):
        return "not measured: no simulator was run."
    return (
        "episodes in MuJoCo in one process in the deployed number of steps, with the 95 % Wilson interval; the first seed of each policy,\n"
        "  the same scenes from seed 200000 on for all."
    )


def comparison_table(against: Mapping[str, Any], counts: Sequence[int]) -> str:
    """Ratios by control and number of steps."""
    head = ["against", "steps", *COMPARED.values(), "action error"]
    rows = [
        [name, str(steps), *(f"{short(f['ratio'], 2)} ({f['smaller']} of {f['seeds']})" for f in by_steps[str(steps)].values())]
        for name, by_steps in against.items()
        for steps in counts
    ]
    return table(head, rows)


def settings_table(settings: Mapping[str, Any], counts: Sequence[int]) -> str:
    """The measured contraction by setting of the penalty."""
    ends = (str(counts[0]), str(counts[-1]))
    columns = [("lipschitz_median", "median"), ("lipschitz_p99", "99 %"), ("jitter_mm", "jitter [mm]"), ("action_error", "error")]
    head = ["penalty", *(f"{label}, {steps} steps" for steps in ends for _, label in columns), "violation", "overhead"]
    rows = []
    for name, by_steps in settings.items():
        title = f"{name} (gamma 0.1, fraction 0.25, every 2)" if name == OURS else name
        cells = [short(by_steps[steps][key]["mean"], 4 if key == "action_error" else 2) for steps in ends for key, _ in columns]
        rows.append([title, *cells, short(by_steps["violation"]["mean"], 2), f"{100 * by_steps['overhead']:.0f} %"])
    return table(head, rows)


def end_to_end_text(whole: Mapping[str, Any], few: str) -> str:
    """The deployed policy and its baseline, where they were measured."""
    if not whole:
        return ""
    rows = [
        [name, *(short(f[few][key]["mean"], 2) for key in COMPARED), f"{f[few]['action_error']['mean']:.4f}", success_cell(f["success"])]
        for name, f in whole.items()
    ]
    head = ["policy", *COMPARED.values(), "action error", "success"]
    return f"""### End to end
The deployed networks, each trained with its own encoder from the same seed, in {few} steps: one training each.

{table(head, rows)}
"""
