"""What the study of slide trains and measures on: the demonstrations through a bundle's encoder, or something made up in its quick version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from cdp.bundle.policy import load_policy
from cdp.bundle.reader import Bundle
from cdp.config import from_mapping
from cdp.data.dataset import DemoDataset
from cdp.data.normalise import MinMax, Stats
from cdp.studies.frame import StudyError, StudyRun
from cdp.studies.slide_measures import Bench
from cdp.studies.slide_policies import Scale, base_config
from cdp.train.batches import Windows
from cdp.train.conditions import EncodedWindows, encode_training, encode_validation
from cdp.train.config import TrainConfig
from cdp.train.initial import initial_stats

BUNDLE = Path("models/slide")
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setting:
    """What every training and measurement of the study starts from; ``bundle`` is None in the quick version, which has synthetic data."""

    base: TrainConfig
    data: tuple[Windows, Windows]
    bundle: Bundle | None
    bench: Bench


def recorded(run: StudyRun, scale: Scale) -> Setting:
    """The demonstrations, seen through the encoder of the bundle. Raises :class:`StudyError` where either is missing."""
    if not (BUNDLE / "manifest.json").is_file():
        raise StudyError(f"no bundle at {BUNDLE}: run the study from the root of the repository, or train it with cdp train config/train/slide.yaml")
    bundle = Bundle.open(BUNDLE)
    base = base_config(bundle, scale)
    if not base.dataset.is_file():
        raise StudyError(f"no demonstrations at {base.dataset}: make them with cdp demos --out {base.dataset.parent}")
    train_set, valid_set = (DemoDataset(base.dataset, split, base.observation, base.horizon, initial_stats(bundle)) for split in ("train", "valid"))
    encoder = load_policy(bundle).encoder
    data = (encode_training(encoder, train_set, base, _CPU, run.cache), encode_validation(encoder, valid_set, _CPU))
    seen = data[1].batch(range(len(valid_set)))
    bench = Bench(seen["cond"][:, 0], torch.from_numpy(seen["action"]), bundle.stats.action, base.diffusion, scale.observations, scale.seeds)
    return Setting(base, data, bundle, bench)


class SyntheticWindows:
    """Windows in memory: the chunk follows from the state, which is the condition too."""

    def __init__(self, rows: int, horizon: int) -> None:
        rng = np.random.default_rng(rows)
        self.cond = torch.from_numpy(rng.uniform(-1.0, 1.0, (rows, 1, 8)).astype(np.float32))
        ramp = np.linspace(0.25, 1.0, horizon, dtype=np.float32)[:, None]
        self.action = np.concatenate([self.cond[:, :, :3].numpy() * ramp, np.zeros((rows, horizon, 7), np.float32)], axis=-1)
        self.stats = Stats(MinMax(-0.1 * np.ones(10), 0.1 * np.ones(10)), MinMax(-np.ones(3), np.ones(3)))
        self.sha256 = "synthetic"
        self.lowdim_width, self.action_width = 3, 10

    def __len__(self) -> int:
        return len(self.action)

    def batch(self, indices: ArrayLike) -> dict[str, Any]:
        """``action`` (B, T, D); there is nothing to see."""
        return {"action": self.action[np.asarray(indices)]}


def synthetic(run: StudyRun, scale: Scale) -> Setting:
    """The quick version's data: made up, without an encoder."""
    encoder = {"kind": "lowdim", "state_width": 8, "condition_width": 8}
    denoiser = {"kind": "mlp", "width": scale.width, "depth": scale.depth}
    base = from_mapping(
        TrainConfig,
        {
            "task": "synthetic",
            "dataset": "none",
            "output": str(run.cache / "synthetic"),
            "horizon": 4,
            "steps": scale.steps,
            "batch_size": 8,
            "observation": {"lowdim_keys": ["robot0_eef_pos"]},
            "network": {"encoder": encoder, "denoiser": denoiser},
            "optimiser": {"warmup_steps": 1},
        },
    )
    windows = [SyntheticWindows(rows, base.horizon) for rows in (24, 8)]
    data = (EncodedWindows(windows[0], windows[0].cond), EncodedWindows(windows[1], windows[1].cond))
    bench = Bench(
        windows[1].cond[:, 0], torch.from_numpy(windows[1].action), windows[1].stats.action, base.diffusion, scale.observations, scale.seeds
    )
    return Setting(base, data, None, bench)
