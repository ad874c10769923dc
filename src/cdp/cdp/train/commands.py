"""``cdp train``: from a configuration file to a policy bundle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from tqdm import tqdm

from cdp.bundle.card import Card
from cdp.bundle.manifest import PolicyDescription
from cdp.bundle.monitor_commands import add_reference
from cdp.bundle.monitor_fit import FitConfig
from cdp.bundle.policy import load_policy
from cdp.bundle.reader import Bundle
from cdp.bundle.writer import write_bundle
from cdp.config import ConfigError, load
from cdp.contraction.report import measure_sampler
from cdp.data.dataset import DemoDataset
from cdp.networks.policy import parameter_count
from cdp.train.batches import Windows
from cdp.train.conditions import EncodedWindows, encode_training, encode_validation
from cdp.train.config import TrainConfig
from cdp.train.initial import initial_stats, open_initial
from cdp.train.parallel import Ranks, joined
from cdp.train.trainer import Trainer, TrainResult
from cdp.train.validation import encode_windows


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    parser = subparsers.add_parser(
        "train",
        allow_abbrev=False,
        help="train a policy and write its bundle",
        description="Train a policy from demonstrations. Any key of the configuration can be overridden: --steps 100 --contraction.gamma 0.3",
    )
    parser.add_argument("config", type=Path, help="training configuration, e.g. config/train/slide.yaml")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of the run")
    parser.add_argument(
        "--overwrite", action="store_true", help="start anew over an earlier run, and replace its bundle once the new one is complete"
    )
    parser.set_defaults(run=run, takes_overrides=True)


def run(args: argparse.Namespace) -> str | None:
    """Train, report, write the bundle; the summary line, or None where another process writes.

    Raises the errors of its parts, each with a message for the user.
    """
    config = load_config(args.config, args.overrides)
    if config.output.exists() and not args.overwrite:
        raise ConfigError(f"{config.output} exists and is left as it is; choose another --output, or give --overwrite")
    with joined(choose_device(config.device), config.process_timeout_s) as ranks:
        if config.threads:
            torch.set_num_threads(config.threads)
        device = ranks.device
        initial = open_initial(config)
        stats = initial_stats(initial)
        train, valid = (DemoDataset(config.dataset, split, config.observation, config.horizon, stats) for split in ("train", "valid"))
        trainer = Trainer(config, *encoded(config, train, valid, initial, ranks), device, ranks, initial)
        with tqdm(total=config.steps, unit="step", dynamic_ncols=True, file=sys.stderr, disable=not ranks.main) as bar:

            def show(done: int, figures: dict[str, float]) -> None:
                bar.update(done - bar.n)
                bar.set_postfix({name: f"{value:.3g}" for name, value in figures.items() if name in ("loss", "penalty", "val_error")}, refresh=False)

            result = trainer.run(args.resume, args.overwrite, show)
    if not ranks.main:
        return None
    report = make_report(result, config, train, valid, device)
    description = PolicyDescription(
        task=config.task,
        observation=config.observation,
        horizon=config.horizon,
        dataset_sha256=train.sha256,
        dataset=config.dataset.name,
        action_width=train.action_width,
        schedule=config.diffusion,
        steps=config.sampler.steps,
        solver=config.sampler.solver,
    )
    write_bundle(
        config.output,
        result.policy.cpu(),
        description=description,
        config=config,
        stats=train.stats,
        report=report,
        card=make_card(args, config, train),
        overwrite=args.overwrite,
    )
    if config.monitor_windows:
        add_reference(config.output, train, valid, FitConfig(train_windows=config.monitor_windows))
    return summary(result, config)


def encoded(config: TrainConfig, train: Windows, valid: Windows, initial: Bundle | None, ranks: Ranks) -> tuple[Windows, Windows]:
    """Both splits as they are, or with the conditions of a frozen encoder where ``config.encoder_draws`` asks for them."""
    if initial is None or not config.encoder_draws:
        return train, valid
    encoder = load_policy(initial).encoder.to(ranks.device)
    total = len(train) * config.encoder_draws
    with tqdm(total=total, unit="window", desc="encoding", dynamic_ncols=True, file=sys.stderr, disable=not ranks.main) as bar:

        def encode() -> EncodedWindows:
            return encode_training(encoder, train, config, ranks.device, config.run_folder, bar.update)

        # The main process computes and keeps them; the others then find them, or compute their own where they share no disk.
        ranks.first(lambda: encode() and None)
        return encode(), encode_validation(encoder, valid, ranks.device)


def load_config(path: Path, overrides: Sequence[str]) -> TrainConfig:
    """The configuration of a YAML file with ``--dotted.key value`` or ``--dotted.key=value`` overrides. Raises :class:`ConfigError`."""
    return load(TrainConfig, path, parse_overrides(overrides))


def parse_overrides(words: Sequence[str]) -> list[tuple[str, Any]]:
    """Dotted keys and YAML values of command-line words. Raises :class:`ConfigError` for a word that is neither."""
    pairs, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or len(word) == 2:
            raise ConfigError(f"{word!r} is not an override; write --key value, e.g. --steps 100")
        key, has_value, value = word[2:].partition("=")
        key = key.replace("-", "_")
        if not has_value:
            if not rest:
                raise ConfigError(f"--{key} has no value")
            value = rest.pop(0)
        pairs.append((key, yaml.safe_load(value)))
    return pairs


def choose_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu`` or ``cuda`` stands for here. Raises :class:`ConfigError` where CUDA is asked for and absent."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("device: 'cuda' is not available here; use 'cpu' or 'auto'")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def make_report(result: TrainResult, config: TrainConfig, train: DemoDataset, valid: DemoDataset, device: torch.device) -> dict[str, Any]:
    """The bundle's ``report.json``: training figures, and the measured contraction on validation observations."""
    cond = encode_windows(result.policy, valid, config.report_windows, device)
    shape = (config.horizon, train.action_width)
    return {
        "training": {
            "label": config.contraction.label if config.contraction.active else "diffusion",
            "steps": result.steps,
            "loss": result.loss,
            "gamma": result.gamma,
            "penalty_overhead": result.penalty_overhead,
            "wall_s": result.wall_s,
            "device": str(device),
            "torch": torch.__version__,
            "encoder_parameters": parameter_count(result.policy.encoder),
            "denoiser_parameters": parameter_count(result.policy.denoiser),
            "demonstrations": train.num_demos,
            "rows": len(train),
        },
        "validation": vars(result.validation),
        "contraction": measure_sampler(
            result.policy.denoise, cond, shape, config.report_seeds, config.sampler.steps, config.sampler.solver, config.diffusion, config.seed
        ),
    }


def make_card(args: argparse.Namespace, config: TrainConfig, train: DemoDataset) -> Card:
    """What the bundle's card says beyond its manifest and report."""
    contraction = config.contraction
    penalty = f"penalty {contraction.label}, gamma {contraction.gamma}" if contraction.active else "no penalty (the diffusion baseline)"
    words = ["cdp", "train", str(args.config), *args.overrides]
    return Card(
        summary=f"Diffusion policy for the task {config.task}, trained on {train.num_demos} demonstrations for {config.steps} steps; {penalty}.",
        commands=(" ".join(words),),
        seeds={"train": config.seed},
        limits=("The figures above are of the validation split. Success is measured by `cdp eval`; a section below holds it where that was done.",),
    )


def summary(result: TrainResult, config: TrainConfig) -> str:
    """The line that the command ends with."""
    overhead = f"{100 * result.penalty_overhead:.0f} %" if config.contraction.active else "none"
    return (
        f"trained {result.steps} steps in {result.wall_s / 60:.1f} min: loss {result.loss:.4g}, validation action error "
        f"{result.validation.action_error:.4g} ({1000 * result.validation.position_error_m:.1f} mm), penalty overhead {overhead}, "
        f"bundle {config.output}"
    )
