"""Study ``slide``: the comparison on the project's own task, pushing a block with a Franka: denoisers on one frozen encoder, and their controls."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cdp.bundle.policy import load_policy
from cdp.bundle.reader import Bundle
from cdp.data.dataset import DemoDataset
from cdp.studies.frame import Outcome, StudyRun, cell, spread
from cdp.studies.slide_data import BUNDLE, Setting, recorded, synthetic
from cdp.studies.slide_figures import draw_policies
from cdp.studies.slide_measures import EXACT, SOLVER, Policy
from cdp.studies.slide_policies import DIFFUSION, HALF, OURS, REGRESSION, SETTINGS, VARIANTS, ZERO, Scale, Trained, Variant, trained
from cdp.studies.slide_report import COMPARED, compare, report
from cdp.studies.slide_rollouts import success
from cdp.studies.toy_regression import regression_action
from cdp.train.conditions import encode_validation

#: Trained end to end like :data:`~cdp.studies.slide_data.BUNDLE` but for the penalty; measured beside it where it is there.
BASELINE = Path("runs/slide-diffusion")
#: Scenes for each policy, of its first seed; more for the two that the question is about.
EPISODES, EPISODES_OF_THE_TWO = 10, 20
_CPU = torch.device("cpu")


def study(run: StudyRun) -> Outcome:
    """Train every denoiser, measure it at several numbers of sampler steps, and run it in simulation where there is one."""
    scale = Scale.of(run.quick)
    counts = scale.sampler_steps
    setting = synthetic(run, scale) if run.quick else recorded(run, scale)
    found = {v.name: [train(setting, v, seed, run) for seed in v.seeds(run.seeds)] for v in (*VARIANTS, *SETTINGS)}
    policies = {name: [policy_of(setting, name, each) for each in members] for name, members in found.items()}
    policies[HALF] = [dataclasses.replace(each, temperature=0.5) for each in policies[DIFFUSION]]
    policies[ZERO] = [dataclasses.replace(each, temperature=0.0) for each in policies[DIFFUSION]]
    measured = {name: measure(setting, members, counts) for name, members in tqdm(policies.items(), desc="measuring", file=sys.stderr)}
    compared = {name: measured[name] for name in (*(v.name for v in VARIANTS), HALF, ZERO)}
    for name in tqdm(compared, desc="simulation", file=sys.stderr):
        measured[name]["success"] = roll_out(setting, name, policies[name][0], run)
    settings = {name: {**first_seed(measured[name]), "overhead": found[name][0].overhead} for name in (DIFFUSION, OURS, *(v.name for v in SETTINGS))}
    whole = {} if setting.bundle is None else end_to_end(setting, scale, run)
    noisy = {name: figures for name, figures in compared.items() if name not in (REGRESSION, ZERO)}
    against = {name: {str(k): compare(measured[OURS][str(k)], figures[str(k)]) for k in counts} for name, figures in noisy.items() if name != OURS}
    draw_policies(noisy | whole, counts, run.out / "policies.png", "Sensitivity to the noise, and error: further left is better; a point a seed")
    draw_policies(settings, counts, run.out / "settings.png", "Settings of the penalty, first seed: further left is better")
    results = {
        "training": {key: getattr(setting.base, key) for key in ("steps", "batch_size", "noise_samples", "encoder_draws")}
        | {"denoiser": dataclasses.asdict(setting.base.network.denoiser), "learning_rate": setting.base.optimiser.learning_rate},
        "measuring": {"observations": scale.observations, "noise_seeds": scale.seeds, "exact_jacobians": EXACT, "solver": SOLVER},
        "policies": compared,
        "settings": settings,
        "end_to_end": whole,
        "against": against,
    }
    return Outcome(results, report(results, counts, run), summary(results, str(counts[0])))


def summary(results: Mapping[str, Any], few: str) -> str:
    """The line that the command ends with."""
    ratios = results["against"][DIFFUSION][few]
    errors = [cell(results["policies"][name][few]["action_error"], 4) for name in (OURS, DIFFUSION)]
    rows = ", ".join(f"{label} {ratios[key]['ratio']:.2g}" for key, label in COMPARED.items())
    return f"{OURS} / {DIFFUSION} in {few} steps: {rows}; action error {errors[0]} against {errors[1]}"


def first_seed(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of :func:`measure` with nothing but the first seed."""
    return {
        key: spread(value["seeds"][:1]) if "seeds" in value else first_seed(value)
        for key, value in figures.items()
        if isinstance(value, Mapping) and key != "success"
    }


def train(setting: Setting, variant: Variant, seed: int, run: StudyRun) -> Trained:
    """A denoiser, trained or from the cache."""
    return trained(variant, seed, setting.base, setting.data, setting.bundle, run.cache)


def policy_of(setting: Setting, name: str, member: Trained) -> Policy:
    """How the denoiser of a variant is sampled."""
    if name != REGRESSION:
        return Policy(member.denoiser)
    shape, schedule = tuple(setting.bench.chunk.shape[1:]), setting.base.diffusion
    return Policy(member.denoiser, act=lambda cond: regression_action(member.denoiser, (len(cond), *shape), cond, schedule))


def measure(setting: Setting, members: Sequence[Policy], counts: Sequence[int]) -> dict[str, Any]:
    """Figures by number of sampler steps, each with its spread over the seeds."""
    found: dict[str, Any] = {}
    for steps in counts:
        each = [setting.bench.measure(member, steps) for member in members]
        found[str(steps)] = {key: spread([figures[key] for figures in each]) for key in each[0]}
    if members[0].act is None and members[0].temperature > 0.0:
        found["violation"] = spread([setting.bench.violation(member) for member in members])
    return found


def roll_out(setting: Setting, name: str, member: Policy, run: StudyRun) -> dict[str, Any] | None:
    """Success of a policy in the deployed number of steps; None in the quick version."""
    if setting.bundle is None:
        return None
    steps = setting.base.sampler.steps

    def act(noise: Tensor, cond: Tensor) -> Tensor:
        return member.actions(noise, cond, steps, setting.base.diffusion)

    episodes = EPISODES_OF_THE_TWO if name in (DIFFUSION, OURS) else EPISODES
    return success(setting.bundle, act, run.seeds[0], episodes, f"{name} {fingerprint(member)}", run.cache)


def fingerprint(policy: Policy) -> str:
    """What tells the actions of one policy from those of another: its weights and temperature."""
    digest = hashlib.sha256(f"{policy.temperature}".encode())
    if isinstance(policy.denoise, nn.Module):
        for name, value in sorted(policy.denoise.state_dict().items()):
            digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()[:16]


def end_to_end(setting: Setting, scale: Scale, run: StudyRun) -> dict[str, Any]:
    """The deployed policy, and its baseline where that was trained, each with its own encoder: in the deployed number of steps only."""
    found: dict[str, Any] = {}
    for path in (BUNDLE, BASELINE):
        if not (path / "manifest.json").is_file():
            continue
        bundle = Bundle.open(path)
        whole = load_policy(bundle)
        valid = DemoDataset(setting.base.dataset, "valid", setting.base.observation, setting.base.horizon, bundle.stats)
        own = dataclasses.replace(setting.bench, cond=encode_validation(whole.encoder, valid, _CPU).batch(range(len(valid)))["cond"][:, 0])
        policy = Policy(whole.denoiser)
        name = f"{path.name}, end to end"
        found[name] = measure(dataclasses.replace(setting, bench=own), [policy], scale.sampler_steps[:1])
        found[name]["success"] = roll_out(dataclasses.replace(setting, bundle=bundle, bench=own), name, policy, run)
    return found
