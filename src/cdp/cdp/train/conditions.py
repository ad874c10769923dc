"""Conditions of a frozen encoder, computed once: of each window a few random crops for training, or the central one for validation.

A training step then costs the denoiser alone. The draws of the augmentation repeat where a live encoder would draw anew each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cdp.networks.policy import Encoder
from cdp.shares import draw
from cdp.train.batches import Windows, image_tensor, random_crop, step_generator
from cdp.train.config import TrainConfig

_BATCH = 64
#: Stream of the crops and of the states' noise, apart from those of training steps.
_STREAM = 2**30


class EncodedWindows:
    """Windows with ``cond`` (B, K, C) in place of images and states: K draws of each window's condition. Implements :class:`Windows`."""

    def __init__(self, windows: Windows, cond: Tensor) -> None:
        """``cond`` (N, K, C) of the N windows, in their order."""
        self._windows, self._cond = windows, cond
        self.stats, self.sha256 = windows.stats, windows.sha256

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def lowdim_width(self) -> int:
        """P, of what the encoder saw."""
        return self._windows.lowdim_width

    @property
    def action_width(self) -> int:
        """D."""
        return self._windows.action_width

    def batch(self, indices: ArrayLike) -> dict[str, Any]:
        """``cond`` (B, K, C) and ``action`` (B, T, D) float32."""
        return {"cond": self._cond[torch.as_tensor(np.asarray(indices))], "action": self._windows.batch(indices)["action"]}


def pick_draw(cond: Tensor, generator: torch.Generator) -> Tensor:
    """One of the K draws of each row of ``cond`` (B, K, C), at random: (B, C)."""
    picks = draw(partial(torch.randint, cond.shape[1]), (len(cond),), generator, torch.int64)
    return cond[torch.arange(len(cond)), picks]


def encode_training(
    encoder: Encoder, windows: Windows, config: TrainConfig, device: torch.device, folder: Path, progress: Callable[[int], None] | None = None
) -> EncodedWindows:
    """``config.encoder_draws`` conditions of each training window: random crops, noise on the states. Kept in ``folder`` and found there again.

    ``progress`` hears the number of windows of each batch that is encoded.
    """
    draws, size = config.encoder_draws, _crop_size(config)
    about = {"draws": draws, "crop": size, "lowdim_noise": config.lowdim_noise, "seed": config.seed}
    path = folder / f"conditions-{_digest(encoder, windows, about)}.safetensors"
    if (kept := _read(path, len(windows), draws)) is not None:
        return EncodedWindows(windows, kept)
    parts = []
    for start in range(0, len(windows), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(windows)))
        batch = windows.batch(rows)
        rng, generator = np.random.default_rng((config.seed, _STREAM, start)), step_generator(config.seed, _STREAM + start)
        each = []
        for _ in range(draws):
            lowdim = torch.from_numpy(batch["lowdim"])
            lowdim = lowdim + config.lowdim_noise * torch.randn(lowdim.shape, generator=generator)
            each.append(_encode(encoder, random_crop(batch["image"], size, rng), lowdim, device))
            if progress is not None:
                progress(len(rows))
        parts.append(torch.stack(each, dim=1))
    cond = torch.cat(parts)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file({"cond": cond}, part)
    part.replace(path)
    return EncodedWindows(windows, cond)


def encode_validation(encoder: Encoder, windows: Windows, device: torch.device) -> EncodedWindows:
    """The condition of each window as the robot would compute it: central crop, no noise."""
    parts = []
    for start in range(0, len(windows), _BATCH):
        batch = windows.batch(np.arange(start, min(start + _BATCH, len(windows))))
        parts.append(_encode(encoder, batch["image"], torch.from_numpy(batch["lowdim"]), device))
    return EncodedWindows(windows, torch.cat(parts)[:, None])


@torch.no_grad()
def _encode(encoder: Encoder, images: np.ndarray, lowdim: Tensor, device: torch.device) -> Tensor:
    cond: Tensor = encoder(image_tensor(images, device), lowdim.to(device))
    return cond.cpu()


def _crop_size(config: TrainConfig) -> int:
    encoder = config.network.encoder
    return encoder.crop_size if encoder.kind == "vision" else config.observation.image_size


def _digest(encoder: Encoder, windows: Windows, about: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps({**about, "data": windows.sha256, "rows": len(windows)}, sort_keys=True).encode())
    digest.update(windows.stats.to_json().encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path, rows: int, draws: int) -> Tensor | None:
    """What is kept at ``path``; None where there is nothing whole."""
    try:
        cond: Tensor = load_file(path)["cond"]
    except (OSError, KeyError, SafetensorError):
        return None
    return cond if cond.shape[:2] == (rows, draws) else None
