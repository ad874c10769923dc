"""Convolutional denoiser over time with per-channel conditioning, after Janner et al. (arXiv 2205.09991) and Chi et al. (arXiv 2303.04137)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdp.networks.layers import TimeEmbedding, groups_of, zero_init


class ConvBlock(nn.Module):
    """Convolution, GroupNorm, SiLU: (B, C, T) -> (B, C', T)."""

    def __init__(self, channels_in: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels_in, channels, kernel, padding=kernel // 2)
        self.norm = nn.GroupNorm(groups_of(channels), channels)

    def forward(self, x: Tensor) -> Tensor:
        """Filter, normalise, activate."""
        return nn.functional.silu(self.norm(self.convolution(x)))


class ResidualBlock(nn.Module):
    """Two convolutions, scaled and shifted per channel by the condition in between: (B, C, T) -> (B, C', T)."""

    def __init__(self, channels_in: int, channels: int, condition_width: int, kernel: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels_in, channels, kernel)
        self.second = ConvBlock(channels, channels, kernel)
        self.modulation = zero_init(nn.Linear(condition_width, 2 * channels))
        self.shortcut = nn.Conv1d(channels_in, channels, 1) if channels_in != channels else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``x`` (B, C, T), ``condition`` (B, width)."""
        scale, shift = self.modulation(condition)[:, :, None].chunk(2, dim=1)
        return self.second(self.first(x) * (1.0 + scale) + shift) + self.shortcut(x)  # type: ignore[no-any-return]


class UNet1d(nn.Module):
    """Noisy chunk (B, T, D), times (B,), condition (B, C) -> clean chunk (B, T, D), or what else it is trained to predict of it.

    Level i has ``width * 2^i`` channels and a horizon of T / 2^i. Raises ValueError where T is not divisible by ``2^(depth - 1)``.
    """

    def __init__(self, horizon: int, action_width: int, condition_width: int, width: int, depth: int, kernel: int) -> None:
        super().__init__()
        if horizon % 2 ** (depth - 1):
            raise ValueError(f"a horizon of {horizon} cannot be halved {depth - 1} times; choose fewer levels")
        embedding = 2 * width
        self.time = TimeEmbedding(embedding)
        self.condition = nn.Linear(condition_width, embedding)
        channels = [width * 2**level for level in range(depth)]
        self.rows_in = nn.Conv1d(action_width, width, 1)
        self.down = nn.ModuleList([ResidualBlock(channels[max(i - 1, 0)], c, embedding, kernel) for i, c in enumerate(channels)])
        self.shrink = nn.ModuleList([nn.Conv1d(c, c, 3, 2, 1) for c in channels[:-1]])
        self.middle = ResidualBlock(channels[-1], channels[-1], embedding, kernel)
        self.grow = nn.ModuleList([nn.ConvTranspose1d(channels[i + 1], channels[i], 4, 2, 1) for i in range(depth - 1)])
        self.up = nn.ModuleList([ResidualBlock(2 * c, c, embedding, kernel) for c in channels[:-1]])
        self.last = ConvBlock(width, width, kernel)
        self.rows_out = zero_init(nn.Conv1d(width, action_width, 1))

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Predict the chunk."""
        condition = nn.functional.silu(self.time(t) + self.condition(cond))
        features = self.rows_in(x.transpose(1, 2))
        skips = []
        for level, block in enumerate(self.down):
            features = block(features, condition)
            if level < len(self.shrink):
                skips.append(features)
                features = self.shrink[level](features)
        features = self.middle(features, condition)
        for level in reversed(range(len(self.up))):
            features = self.up[level](torch.cat([self.grow[level](features), skips[level]], dim=1), condition)
        return self.rows_out(self.last(features)).transpose(1, 2)  # type: ignore[no-any-return]
