"""Flat denoiser that is told condition, time and action again in every layer: the MLP sieve of Pearce et al. (arXiv 2301.10677)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cdp.networks.layers import TimeEmbedding, zero_init


class SieveLayer(nn.Module):
    """Hidden features (B, width) beside ``again`` (B, A), through a linear layer, added to the features: (B, width)."""

    def __init__(self, width: int, again_width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width + again_width, width)

    def forward(self, x: Tensor, again: Tensor) -> Tensor:
        """Residual sum; divided by the root of two it keeps its variance."""
        x = x / math.sqrt(2.0)
        return x + nn.functional.gelu(self.layer(torch.cat([x, again], dim=-1)))


class PearceMLP(nn.Module):
    """Noisy chunk (B, T, D), times (B,), condition (B, C) -> chunk (B, T, D); ``depth`` layers between the embeddings and the output.

    The paper's batch normalisation is left out: it would tie the samples of a batch to one another, and their Jacobians with them.
    """

    def __init__(self, horizon: int, action_width: int, condition_width: int, width: int, depth: int) -> None:
        super().__init__()
        flat = horizon * action_width
        self.time = TimeEmbedding(width)
        self.condition = nn.Sequential(nn.Linear(condition_width, width), nn.LeakyReLU(), nn.Linear(width, width))
        self.rows_in = nn.Sequential(nn.Linear(flat, width), nn.SiLU(), nn.Linear(width, width))
        self.first = nn.Linear(3 * width, width)
        self.layers = nn.ModuleList([SieveLayer(width, 2 * width + flat) for _ in range(depth)])
        self.rows_out = zero_init(nn.Linear(width + width + flat, flat))

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Predict the chunk."""
        flat = x.flatten(1)
        time, condition = self.time(t), self.condition(cond)
        features = nn.functional.gelu(self.first(torch.cat([self.rows_in(flat), time, condition], dim=-1)))
        for layer in self.layers:
            features = layer(features, torch.cat([time, condition, flat], dim=-1))
        return self.rows_out(torch.cat([features, time, flat], dim=-1)).reshape(x.shape)  # type: ignore[no-any-return]
