"""Transformer denoiser: one token a row of the chunk, conditioned through adaptive normalisation (DiT, arXiv 2212.09748)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdp.networks.layers import SelfAttention, TimeEmbedding, TokenNorm, zero_init


class DiTBlock(nn.Module):
    """Attention and feed-forward, each normalised, scaled, shifted and gated by the condition: (B, T, C) -> (B, T, C)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = TokenNorm()
        self.attention = SelfAttention(width, heads)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulation = zero_init(nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``x`` (B, T, C), ``condition`` (B, C)."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(condition)[:, None].chunk(6, dim=-1)
        x = x + gate_a * self.attention(self.norm(x) * (1.0 + scale_a) + shift_a)
        return x + gate_f * self.feed_forward(self.norm(x) * (1.0 + scale_f) + shift_f)  # type: ignore[no-any-return]


class DiT1d(nn.Module):
    """Noisy chunk (B, T, D), times (B,), condition (B, C) -> clean chunk (B, T, D), or what else it is trained to predict of it."""

    def __init__(self, horizon: int, action_width: int, condition_width: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.rows_in = nn.Linear(action_width, width)
        self.position = nn.Parameter(0.02 * torch.randn(1, horizon, width))
        self.time = TimeEmbedding(width)
        self.condition = nn.Linear(condition_width, width)
        self.blocks = nn.ModuleList([DiTBlock(width, heads) for _ in range(depth)])
        self.norm = TokenNorm()
        self.modulation = zero_init(nn.Linear(width, 2 * width))
        self.rows_out = zero_init(nn.Linear(width, action_width))

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Predict the chunk."""
        condition = nn.functional.silu(self.time(t) + self.condition(cond))
        tokens = self.rows_in(x) + self.position
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=-1)
        return self.rows_out(self.norm(tokens) * (1.0 + scale) + shift)  # type: ignore[no-any-return]
