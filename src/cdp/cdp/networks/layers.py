"""Layers that keep every derivative exact.

The contraction penalty differentiates a derivative of the denoiser, so every layer here is made of elementary operations or GroupNorm: the
fused layer normalisation of torch gives wrong parameter gradients under forward-over-reverse differentiation (pytorch issue 196700), and the fused
attention kernels have no second derivative.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class TokenNorm(nn.Module):
    """Layer normalisation over the last axis, without learned scale, in elementary operations: (..., C) -> (..., C)."""

    def __init__(self, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Zero mean and unit variance over the last axis."""
        centred = x - x.mean(dim=-1, keepdim=True)
        return centred * torch.rsqrt((centred * centred).mean(dim=-1, keepdim=True) + self.epsilon)


class SelfAttention(nn.Module):
    """Multi-head self-attention in plain matrix products: (B, T, C) -> (B, T, C)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Every row attends to every row."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(width // self.heads), dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, tokens, width))  # type: ignore[no-any-return]


class TimeEmbedding(nn.Module):
    """Diffusion time (B,) in (0, 1] -> (B, width): sines and cosines of geometric frequencies, then two linear layers."""

    frequencies: Tensor

    def __init__(self, width: int, count: int = 32, highest: float = 1000.0) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.exp(torch.linspace(0.0, math.log(highest), count)), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * count, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Embed the times."""
        angle = t[:, None] * self.frequencies
        return self.layers(torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1))  # type: ignore[no-any-return]


def groups_of(channels: int) -> int:
    """Normalisation groups of 8 channels for ``channels`` channels, a multiple of 8."""
    return channels // 8


def zero_init(layer: nn.Linear | nn.Conv1d) -> nn.Linear | nn.Conv1d:
    """``layer`` with weight and bias zero, so that what it feeds starts as if absent."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
