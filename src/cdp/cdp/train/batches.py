"""Batches as a function of seed and step alone, so that a resumed training sees exactly what it would have seen."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdp.data.normalise import Stats
from cdp.shares import Share


class Windows(Protocol):
    """What training needs of a data set; ``cdp.data.dataset.DemoDataset`` is one."""

    stats: Stats
    sha256: str

    def __len__(self) -> int: ...

    @property
    def lowdim_width(self) -> int:
        """P."""

    @property
    def action_width(self) -> int:
        """D."""

    def batch(self, indices: ArrayLike) -> Any:
        """``image`` (B, To, H, W, 3) uint8, ``lowdim`` (B, To, P) and ``action`` (B, T, D) float32, normalised."""


def batch_indices(length: int, batch_size: int, seed: int, step: int) -> NDArray[np.int64]:
    """Rows (batch_size,) of training step ``step`` (from 0): a new permutation each epoch, batches running on over its end."""
    first = step * batch_size
    epochs = range(first // length, (first + batch_size - 1) // length + 1)
    order = np.concatenate([np.random.default_rng((seed, epoch)).permutation(length) for epoch in epochs])
    start = first - epochs[0] * length
    return order[start : start + batch_size]


def random_crop(images: NDArray[np.uint8], size: int, rng: np.random.Generator, share: Share | None = None) -> NDArray[np.uint8]:
    """One random ``size`` x ``size`` crop a window, the same for its frames: (B, To, H, W, 3) -> (B, To, size, size, 3).

    The images are the ``share`` of a batch, whose crops are drawn as a whole; the whole batch where that is None.
    """
    batch, window, height, width, channels = images.shape
    out = np.empty((batch, window, size, size, channels), dtype=np.uint8)
    share = share if share is not None else Share(0, batch, batch)
    tops, lefts = (rng.integers(0, side - size + 1, share.total)[share.rows] for side in (height, width))
    for i, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        out[i] = images[i, :, top : top + size, left : left + size]
    return out


def image_tensor(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(B, To, H, W, 3) uint8 -> (B, To, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(images).to(device).permute(0, 1, 4, 2, 3).float().div_(255.0)


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator of every noise of one training step."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1)[0]))
