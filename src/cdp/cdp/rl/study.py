"""Variants of one training over seeds: returns, and how much each sampler spreads its noise; results.json and a figure."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from tqdm import tqdm

from cdp.config import ConfigError, from_mapping, to_mapping
from cdp.rl.config import RLConfig, SelectionConfig
from cdp.rl.evaluation import evaluate, mean_and_spread, measure
from cdp.rl.figure import draw
from cdp.rl.policy import RLPolicy, load_policy
from cdp.rl.train import train
from cdp.rl.transitions import Transitions, read_transitions

RESULTS = "results.json"
FIGURE = "study.png"
#: Evaluation starts from these seeds in every variant, so that all see the same first states.
EVALUATION_SEED = 100_000

Variants = Mapping[str, Mapping[str, Any]]
DEFAULT_VARIANTS: Variants = {"EDP": {"contraction": {"label": "diffusion"}}, "CDP": {"contraction": {"label": "cdp-saturating"}}}


def run_study(config: RLConfig, variants_file: Path | None, seeds: Sequence[int], episodes: int, out: Path, command: str) -> str:
    """Train and evaluate every variant with every seed under ``config.output``, write the results to ``out``; the summary line.

    A training that was finished earlier with the same configuration and data is not repeated: an interrupted study goes on where it stopped.
    Raises :class:`ConfigError` for variants that cannot be, and the errors of training and evaluation.
    """
    variants = read_variants(variants_file) if variants_file is not None else DEFAULT_VARIANTS
    planned = {name: [_varied(config, name, changes, seed) for seed in seeds] for name, changes in variants.items()}
    data = read_transitions(config.dataset)
    # Seeds outside, variants inside: whatever slows the machine down for a while slows all variants of a seed.
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    for number in range(len(seeds)):
        for name in variants:
            runs[name].append(_run(planned[name][number], data, episodes))
    dataset = _dataset_figures(config, data)
    results = {
        "command": command,
        "task": config.task,
        "dataset": dataset,
        "seeds": list(seeds),
        "torch": torch.__version__,
        "variants": {name: {"changes": variants[name], "runs": runs[name], "summary": _summary(runs[name])} for name in variants},
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / RESULTS).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results, out / FIGURE)
    lines = [f"{name} {s['return']['mean']:.4g} +- {s['return']['std']:.2g}" for name, s in _summaries(results)]
    reference = dataset["episode_return"]["mean"]
    return f"return over {len(seeds)} seeds: {', '.join(lines)}; behaviour in the data {reference:.4g}; {out / RESULTS}, {out / FIGURE}"


def read_variants(path: Path) -> Variants:
    """Names and nested overrides of a YAML file. Raises :class:`ConfigError`."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(data, dict) or not data or not all(isinstance(changes, dict) for changes in data.values()):
        raise ConfigError(f"{path}: a mapping of each variant's name to its overrides is needed")
    return data


def _varied(config: RLConfig, name: str, changes: Mapping[str, Any], seed: int) -> RLConfig:
    merged = _merge(to_mapping(config), changes)
    folder = config.output / "".join(c if c.isalnum() or c in "-." else "_" for c in name) / f"seed_{seed}"
    return from_mapping(RLConfig, {**merged, "seed": seed, "output": folder}, f"{name}.")


def _merge(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(data)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def _run(config: RLConfig, data: Transitions, episodes: int) -> dict[str, Any]:
    """The figures of one training; read back where they were made before from the same configuration, data and number of episodes."""
    path = config.output / "figures.json"
    identity = hashlib.sha256(json.dumps([to_mapping(config), data.sha256, episodes], sort_keys=True).encode()).hexdigest()
    if path.is_file():
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if stored["identity"] == identity:
            return stored["figures"]  # type: ignore[no-any-return]
    result = train(config, data, resume=True)
    policy = load_policy(config.output, seed=EVALUATION_SEED)
    # The same policy without its critics' choice tells how much of a return is the actor's own.
    alone = RLPolicy(policy.networks, replace(config, selection=SelectionConfig(candidates=1)), EVALUATION_SEED)
    figures = {
        "seed": config.seed,
        "selected": _evaluated(policy, episodes, f"{config.output.parent.name} seed {config.seed}"),
        "actor_alone": _evaluated(alone, episodes, f"{config.output.parent.name} seed {config.seed}, actor alone"),
        "sampler": measure(policy, data),
        "training": {**result.figures, "wall_s": result.wall_s, "penalty_overhead": result.penalty_overhead, "steps": result.steps},
    }
    path.write_text(json.dumps({"identity": identity, "figures": figures}), encoding="utf-8")
    return figures


def _evaluated(policy: RLPolicy, episodes: int, line: str) -> dict[str, Any]:
    with tqdm(total=episodes, unit="episode", dynamic_ncols=True, file=sys.stderr, desc=line) as bar:
        return evaluate(policy, episodes, EVALUATION_SEED, lambda done: bar.update(done - bar.n) and None)


def _summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds."""
    sampler = [run["sampler"] for run in runs]
    return {
        "return": mean_and_spread([run["selected"]["return_mean"] for run in runs]),
        "return_within_run_std": mean_and_spread([run["selected"]["return_std"] for run in runs]),
        "return_actor_alone": mean_and_spread([run["actor_alone"]["return_mean"] for run in runs]),
        "lipschitz_median": mean_and_spread([s["lipschitz"]["median"] for s in sampler]),
        "lipschitz_p95": mean_and_spread([s["lipschitz"]["p95"] for s in sampler]),
        "action_std_median": mean_and_spread([s["action_std"]["median"] for s in sampler]),
        "violation": mean_and_spread([s["violation"]["fraction"] for s in sampler]),
    }


def _summaries(results: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, variant["summary"]) for name, variant in results["variants"].items()]


def _dataset_figures(config: RLConfig, data: Transitions) -> dict[str, Any]:
    return {
        "file": config.dataset.name,
        "sha256": data.sha256,
        "layout": data.layout,
        "transitions": len(data),
        "episodes": len(data.episode_returns),
        "episode_return": {**mean_and_spread(data.episode_returns.tolist()), "max": float(data.episode_returns.max())},
        "return_per_transition": float((data.episode_returns * data.episode_lengths).sum() / data.episode_lengths.sum()),
        **data.notes,
    }
