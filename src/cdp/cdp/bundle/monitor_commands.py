"""``cdp monitor``: add to a bundle what the policy node's monitor compares live observations with."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cdp.bundle.annotate import set_figures, set_section
from cdp.bundle.change import change
from cdp.bundle.errors import BundleError
from cdp.bundle.manifest import Manifest
from cdp.bundle.monitor import MonitorReference
from cdp.bundle.monitor_fit import FitConfig, fit
from cdp.bundle.reader import Bundle
from cdp.config import from_mapping
from cdp.data.dataset import DatasetError, DemoDataset, file_sha256
from cdp.report.observations import training_file

HEADING = "Monitor"
KEY = "monitor"
_TYPES: dict[str, Any] = {"float": float, "int": int, "str": str}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    parser = subparsers.add_parser(
        "monitor",
        help="add to a bundle what the policy node's monitor compares live observations with",
        description=(
            "Add monitor.json and monitor.safetensors to a bundle: mean and covariance of the encoder's features over the training windows, and what "
            "spread, Lipschitz ratio, range and distance are on held-out ones. Networks and weights stay as they are; the bundle is changed whole or "
            "not at all."
        ),
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle, e.g. models/slide")
    parser.add_argument("--data", type=Path, default=None, help="demonstrations (HDF5) that it was trained on (default: the file that it names)")
    parser.add_argument("--other-data", action="store_true", help="take --data even where the bundle was trained on another file")
    for field in dataclasses.fields(FitConfig):
        kind = _TYPES[str(field.type)]
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=kind, default=field.default, help=f"{field.metadata['help']} (default {field.default})"
        )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> str:
    """Fit, write, and say what the thresholds are. Raises the errors of its parts, each with a message for the user."""
    config = from_mapping(FitConfig, {field.name: getattr(args, field.name) for field in dataclasses.fields(FitConfig)})
    bundle = Bundle.open(args.bundle)
    data = args.data if args.data is not None else training_file(bundle)
    if not data.is_file():
        raise DatasetError(f"no demonstrations at {data}: give --data <demos.hdf5>, the file that {bundle.name} was trained on")
    check_data(bundle, file_sha256(data), data, args.other_data)
    reference = add_reference(args.bundle, *splits(bundle, data), config, command_of(args))
    return f"{args.bundle}: {summary(reference)}"


def check_data(bundle: Bundle, sha256: str, data: Path, other: bool) -> None:
    """Raises :class:`BundleError` where ``sha256`` of ``data`` is not that of the file that ``bundle`` was trained on, unless ``other`` allows it."""
    if sha256 != bundle.policy.dataset_sha256 and not other:
        raise BundleError(
            f"{data} is not the file that {bundle.name} was trained on (SHA-256 {sha256[:12]}, not {bundle.policy.dataset_sha256[:12]})"
            ": nothing was written; give that file, or --other-data to call what is unlike this one unusual"
        )


def splits(bundle: Bundle, data: Path) -> tuple[DemoDataset, DemoDataset]:
    """The train and the valid split of ``data`` as ``bundle`` sees them. Raises :class:`cdp.data.dataset.DatasetError`."""
    policy = bundle.policy
    train, valid = (DemoDataset(data, split, policy.observation, policy.horizon, bundle.stats) for split in ("train", "valid"))
    return train, valid


def add_reference(
    folder: Path, train: DemoDataset, valid: DemoDataset, config: FitConfig | None = None, command: str = "", quiet: bool = False
) -> MonitorReference:
    """Fit the reference of the bundle ``folder`` and put it there, the bundle's hashes with it; ``command`` goes into the card.

    Raises as :func:`cdp.bundle.monitor_fit.fit` and :func:`cdp.bundle.change.change` do, the bundle left as it was.
    """
    config = config if config is not None else FitConfig()
    bundle = Bundle.open(folder)
    total = min(config.train_windows, len(train)) + min(config.valid_windows, len(valid))
    with tqdm(total=total, unit="window", desc="monitor", dynamic_ncols=True, file=sys.stderr, disable=quiet) as bar:
        reference = fit(bundle, train, valid, config, bar.update)
    write_reference(folder, reference, command)
    return reference


def write_reference(folder: Path, reference: MonitorReference, command: str = "") -> Manifest:
    """Put ``reference`` into the bundle ``folder``, whole or not at all. Raises :class:`BundleError` for a folder that holds no sound bundle."""

    def edit(part: Path) -> None:
        reference.save(part)
        set_figures(part, KEY, _figures(reference))
        set_section(part, HEADING, _section(reference, command))

    return change(folder, edit)


def summary(reference: MonitorReference) -> str:
    """One line of what the thresholds are and of what."""
    facts = reference.facts
    return (
        f"monitor of {facts.train_windows} training windows, thresholds at the {facts.quantile:g} quantile of {facts.valid_windows} held-out ones "
        f"({facts.valid_demonstrations} demonstrations): spread {facts.spread.threshold:.3g}, lipschitz {facts.lipschitz.threshold:.3g}, "
        f"range {facts.extent.threshold:.3g}, distance {facts.distance.threshold:.3g}"
    )


def command_of(args: argparse.Namespace) -> str:
    """The command line, defaults left out."""
    words = ["cdp", "monitor", str(args.bundle)]
    if args.data is not None:
        words += ["--data", str(args.data)]
    words += ["--other-data"] * args.other_data
    for field in dataclasses.fields(FitConfig):
        if getattr(args, field.name) != field.default:
            words += [f"--{field.name.replace('_', '-')}", str(getattr(args, field.name))]
    return shlex.join(words)


def _figures(reference: MonitorReference) -> dict[str, Any]:
    facts = reference.facts
    limits = {name: getattr(facts, name) for name in ("spread", "lipschitz", "extent", "distance")}
    return {
        **{name: {"median": limit.quantiles[50], "threshold": limit.threshold, "max": limit.quantiles[-1]} for name, limit in limits.items()},
        "train_windows": facts.train_windows,
        "valid_windows": facts.valid_windows,
        "dataset_sha256": facts.dataset_sha256,
    }


def _section(reference: MonitorReference, command: str) -> str:
    facts = reference.facts
    names = {
        "spread": "spread over noise seeds, normalised",
        "lipschitz": "Lipschitz ratio of small pairs of noise",
        "extent": "low-dimensional range, 1 at the training data's edge",
        "distance": "Mahalanobis distance of the encoder's features",
    }
    limits = {line: getattr(facts, name) for name, line in names.items()}
    rows = [f"| {line} | {limit.quantiles[50]:.3g} | {limit.threshold:.3g} | {limit.quantiles[-1]:.3g} |" for line, limit in limits.items()]
    given = f"```sh\n{command}\n```\n\n" if command else ""
    return (
        f"{given}What the policy node's monitor compares a live observation with: {facts.train_windows} training windows of {facts.dataset} "
        f"(SHA-256 `{facts.dataset_sha256}`), thresholds at the {facts.quantile:g} quantile of {facts.valid_windows} held-out windows of "
        f"{facts.valid_demonstrations} demonstrations, with {facts.seeds} noise seeds, {facts.solver} in {facts.steps} steps.\n\n"
        "| figure of a held-out window | median | threshold | largest |\n|---|---|---|---|\n" + "\n".join(rows)
    )
