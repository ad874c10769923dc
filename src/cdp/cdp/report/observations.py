"""The observations that a report is about: real ones from a file of demonstrations, or synthetic ones that say so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from cdp.bundle.manifest import CONFIG
from cdp.bundle.reader import Bundle
from cdp.data.dataset import DemoDataset
from cdp.networks.policy import VisionPolicy
from cdp.train.batches import image_tensor
from cdp.train.validation import even_rows

SYNTHETIC = "synthetic"
SYNTHETIC_TEXT = "synthetic: every pixel uniform on [0, 1] and every normalised state number uniform on [-1, 1], not what the camera ever sees"


class ObservationsError(ValueError):
    """Observations that cannot be had; one line that says what to give instead."""


@dataclass(frozen=True)
class Observations:
    """``count`` observations from ``source``: a file's validation split, evenly spread, or, where it is None, random numbers of ``seed``."""

    source: Path | None
    count: int
    seed: int

    @property
    def text(self) -> str:
        """What a table says of them."""
        return SYNTHETIC_TEXT if self.source is None else f"{self.count} of the validation split of {self.source}, evenly spread"

    def conditions(self, bundle: Bundle, policy: VisionPolicy) -> Conditions:
        """What ``policy`` of ``bundle`` makes of them. Raises :class:`cdp.data.dataset.DatasetError` for a file that does not have them."""
        spec = bundle.policy.observation
        if self.source is None:
            generator = torch.Generator().manual_seed(self.seed)
            image = torch.rand((self.count, spec.window, 3, spec.image_size, spec.image_size), generator=generator)
            lowdim = torch.rand((self.count, spec.window, spec.lowdim_width), generator=generator) * 2.0 - 1.0
            return Conditions(_encode(policy, image, lowdim), {"source": SYNTHETIC, "count": self.count, "seed": self.seed, "text": SYNTHETIC_TEXT})
        data = DemoDataset(self.source, "valid", spec, bundle.policy.horizon)
        rows = even_rows(len(data), self.count)
        batch = data.batch(rows)
        # The file's own statistics are those of its train split; the policy was trained with the bundle's.
        lowdim_rows = bundle.stats.lowdim.normalise(data.stats.lowdim.denormalise(batch["lowdim"])).astype(np.float32)
        facts = {
            "source": str(self.source),
            "count": len(rows),
            "rows": rows.tolist(),
            "sha256": data.sha256,
            "is_training_file": data.sha256 == bundle.policy.dataset_sha256,
            "text": self.text,
        }
        return Conditions(_encode(policy, image_tensor(batch["image"], torch.device("cpu")), torch.from_numpy(lowdim_rows)), facts)


@dataclass(frozen=True)
class Conditions:
    """Conditions (N, C), and where they come from."""

    cond: Tensor
    facts: dict[str, Any]


def choose_observations(given: str | None, bundle: Bundle, count: int, seed: int) -> Observations:
    """The observations that ``--observations`` names; without it the file that the bundle was trained on. Raises :class:`ObservationsError`."""
    if given == SYNTHETIC:
        return Observations(None, count, seed)
    path = Path(given) if given is not None else training_file(bundle)
    if not path.is_file():
        raise ObservationsError(
            f"no demonstrations at {path}: give --observations <demos.hdf5>, or --observations {SYNTHETIC} for random ones, labelled as such"
        )
    return Observations(path, count, seed)


def training_file(bundle: Bundle) -> Path:
    """Where the demonstrations that ``bundle`` was trained on lay, as its configuration says it."""
    config = yaml.safe_load((bundle.path / CONFIG).read_text(encoding="utf-8")) or {}
    return Path(config.get("dataset") or bundle.policy.dataset or "demos.hdf5")


@torch.no_grad()
def _encode(policy: VisionPolicy, image: Tensor, lowdim: Tensor) -> Tensor:
    parts = [policy.encode(*part) for part in zip(torch.split(image, 64), torch.split(lowdim, 64), strict=True)]
    return torch.cat(parts)
