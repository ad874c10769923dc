"""Trained toy denoisers, and the folder of them that lets studies share a training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

import cdp
from cdp.config import to_mapping
from cdp.networks.mlp import MLPDenoiser
from cdp.studies.toy_config import ToyTraining
from cdp.studies.toy_training import toy_network, train

#: Sources that a training reads: a change in one of them makes the cached models stale.
_SOURCES = (
    "diffusion",
    "contraction",
    "networks/layers.py",
    "networks/mlp.py",
    "train/objective.py",
    *(f"studies/{name}.py" for name in ("stack", "toy_cache", "toy_config", "toy_penalty", "toy_regression", "toy_task", "toy_training")),
)


@dataclass(frozen=True)
class Trained:
    """A stack at each snapshot, ``weights[updates][name]`` (M, ...), with its penalty's trace, ``gamma`` and ``violation`` (K, M)."""

    config: ToyTraining
    weights: Mapping[int, Mapping[str, Tensor]]
    gamma: Tensor
    violation: Tensor

    def denoiser(self, member: int, updates: int) -> MLPDenoiser:
        """The library's network with the weights of a member at a snapshot."""
        network = toy_network(self.config)
        network.load_state_dict({name: value[member] for name, value in self.weights[updates].items()})
        return network.eval().requires_grad_(False)


def trained(config: ToyTraining, cache: Path) -> Trained:
    """The stack of ``config``: from the folder ``cache`` where it was trained before by the same sources, trained and kept there otherwise."""
    text = json.dumps(to_mapping(config), sort_keys=True)
    path = cache / f"toy-{hashlib.sha256((text + _sources_digest()).encode()).hexdigest()[:16]}.safetensors"
    if not path.is_file():
        training = train(config)
        flat = {f"{updates}/{name}": value for updates, values in training.weights.items() for name, value in values.items()}
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        save_file({**flat, "trace/gamma": training.gamma, "trace/violation": training.violation}, part, {"config": text})
        part.replace(path)
    flat = load_file(path)
    gamma, violation = flat.pop("trace/gamma"), flat.pop("trace/violation")
    weights: dict[int, dict[str, Tensor]] = {updates: {} for updates in config.snapshots}
    for key, value in flat.items():
        updates_text, name = key.split("/", 1)
        weights[int(updates_text)][name] = value
    return Trained(config, weights, gamma, violation)


def _sources_digest() -> str:
    root = Path(cdp.__file__).parent
    digest = hashlib.sha256()
    for source in _SOURCES:
        path = root / source
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()
