"""The policies that the study of slide compares: denoisers of one size on one frozen encoder, each trained or from the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

import cdp
from cdp.bundle.manifest import CONFIG
from cdp.bundle.reader import Bundle
from cdp.config import from_mapping, to_mapping
from cdp.contraction.config import ContractionConfig
from cdp.networks.config import DenoiserConfig
from cdp.networks.policy import Denoiser, build_denoiser
from cdp.studies.toy_regression import regression_loss
from cdp.train.batches import Windows
from cdp.train.config import TrainConfig
from cdp.train.trainer import Trainer

DIFFUSION, OURS, REGRESSION = "diffusion", "cdp-saturating", "two-step regression"
HALF, ZERO = "half temperature", "zero noise"
_CPU = torch.device("cpu")
_BASELINE = ContractionConfig(label="diffusion", gamma=0.0)
#: Sources that a training reads: a change in one of them makes the kept denoisers stale.
_SOURCES = ("diffusion", "contraction", "networks/layers.py", "networks/mlp.py", "train/objective.py", "train/optimiser.py")


@dataclass(frozen=True)
class Variant:
    """A training: what tells it from plain diffusion. ``all_seeds``: one a seed, otherwise one of the first seed."""

    name: str
    contraction: ContractionConfig = _BASELINE
    weight_decay: float = 1e-4
    objective: str = "diffusion"
    all_seeds: bool = False

    def seeds(self, given: Sequence[int]) -> tuple[int, ...]:
        """Those of the study's seeds that it is trained for."""
        return tuple(given if self.all_seeds else given[:1])


def _penalised(name: str, gamma: float = 0.1, fraction: float = 0.25, every: int = 2, all_seeds: bool = False) -> Variant:
    return Variant(name, ContractionConfig(label=OURS, gamma=gamma, fraction=fraction, every=every), all_seeds=all_seeds)


#: The comparison, each trained for every seed, and after it the settings of the penalty.
VARIANTS = (
    Variant(DIFFUSION, all_seeds=True),
    _penalised(OURS, all_seeds=True),
    Variant("weight decay 0.1", weight_decay=0.1, all_seeds=True),
    Variant("weight decay 1", weight_decay=1.0, all_seeds=True),
    Variant(REGRESSION, objective="regression", all_seeds=True),
)
SETTINGS = (
    _penalised("every 1", every=1),
    _penalised("every 4", every=4),
    _penalised("fraction 0.5", fraction=0.5),
    _penalised("fraction 1", fraction=1.0),
    _penalised("gamma 1", gamma=1.0),
)


@dataclass(frozen=True)
class Scale:
    """How large a study is: the trainings, and what is measured of each policy."""

    steps: int
    width: int
    depth: int
    draws: int
    observations: int
    seeds: int
    sampler_steps: tuple[int, ...]

    @classmethod
    def of(cls, quick: bool) -> Scale:
        """The full study, or the one of seconds."""
        return cls(4, 16, 1, 2, 3, 4, (3, 4)) if quick else cls(2000, 192, 3, 4, 32, 16, (3, 10, 50))


@dataclass(frozen=True)
class Trained:
    """A denoiser in evaluation mode, and what its training says of it."""

    denoiser: Denoiser
    action_error: float
    overhead: float


class RegressionTrainer(Trainer):
    """Trains the two-step regression policy in place of a denoiser."""

    def loss(self, chunk: Tensor, cond: Tensor, generator: torch.Generator) -> Tensor:
        """Squared errors of both predictions; see :func:`cdp.studies.toy_regression.regression_loss`."""
        return regression_loss(self.policy.denoise, chunk, cond, self.config.diffusion, self.config.weighting, generator)


def base_config(bundle: Bundle, scale: Scale) -> TrainConfig:
    """The training of ``bundle``, from its encoder, with denoisers and a length that allow many trainings."""
    config = from_mapping(TrainConfig, yaml.safe_load((bundle.path / CONFIG).read_text(encoding="utf-8")))
    return dataclasses.replace(
        config,
        initial=bundle.path,
        freeze_encoder=True,
        encoder_draws=scale.draws,
        steps=scale.steps,
        validate_every=scale.steps,
        checkpoint_every=max(1, scale.steps // 2),
        log_every=max(1, scale.steps // 20),
        validate_windows=100_000,
        device="cpu",
        network=dataclasses.replace(config.network, denoiser=DenoiserConfig(kind="mlp", width=scale.width, depth=scale.depth)),
        optimiser=dataclasses.replace(config.optimiser, learning_rate=1e-3, warmup_steps=min(config.optimiser.warmup_steps, scale.steps // 4)),
    )


def trained(variant: Variant, seed: int, base: TrainConfig, data: tuple[Windows, Windows], initial: Bundle | None, cache: Path) -> Trained:
    """The denoiser of a variant and seed: from the folder ``cache`` where it was trained before by the same sources, trained and kept otherwise."""
    config = dataclasses.replace(
        base, seed=seed, contraction=variant.contraction, optimiser=dataclasses.replace(base.optimiser, weight_decay=variant.weight_decay)
    )
    identity = {**to_mapping(config), "objective": variant.objective, "data": data[0].sha256}
    for place in ("run_dir", "output"):
        identity.pop(place)
    text = json.dumps(identity, sort_keys=True)
    name = f"slide-{hashlib.sha256((text + _sources_digest()).encode()).hexdigest()[:16]}"
    kept, figures = cache / f"{name}.safetensors", cache / f"{name}.json"
    if not figures.is_file():
        _train(variant, dataclasses.replace(config, output=cache / name, run_dir=cache / f"{name}.run"), data, initial, kept, figures)
    denoiser = build_denoiser(config.network.denoiser, config.horizon, data[0].action_width, config.network.encoder.condition_width, config.diffusion)
    denoiser.load_state_dict(load_file(kept))
    return Trained(denoiser.eval().requires_grad_(False), **json.loads(figures.read_text(encoding="utf-8")))


def _train(variant: Variant, config: TrainConfig, data: tuple[Windows, Windows], initial: Bundle | None, kept: Path, figures: Path) -> None:
    kind = RegressionTrainer if variant.objective == "regression" else Trainer
    result = kind(config, *data, _CPU, initial=initial).run(resume=True)
    save_file({name: value.contiguous() for name, value in result.policy.denoiser.state_dict().items()}, kept)
    # Written last: its presence says that the weights beside it are whole.
    figures.write_text(json.dumps({"action_error": result.validation.action_error, "overhead": result.penalty_overhead}) + "\n", encoding="utf-8")
    shutil.rmtree(config.run_folder)


def _sources_digest() -> str:
    root, digest = Path(cdp.__file__).parent, hashlib.sha256()
    for name in _SOURCES:
        path = root / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()
