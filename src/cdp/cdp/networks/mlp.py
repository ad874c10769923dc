"""Flat denoiser for small chunks: a residual MLP on the flattened action, conditioned through scale and shift."""

from __future__ import annotations

from torch import Tensor, nn

from cdp.networks.layers import TimeEmbedding, TokenNorm, zero_init


class MLPBlock(nn.Module):
    """Residual block (B, width) -> (B, width), modulated by the condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = TokenNorm()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = zero_init(nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``x`` and ``condition`` (B, width)."""
        scale, shift = self.modulation(condition).chunk(2, dim=-1)
        return x + self.layers(self.norm(x) * (1.0 + scale) + shift)  # type: ignore[no-any-return]


class MLPDenoiser(nn.Module):
    """Noisy chunk (B, T, D), times (B,), condition (B, C) -> clean chunk (B, T, D), or what else it is trained to predict of it."""

    def __init__(self, horizon: int, action_width: int, condition_width: int, width: int, depth: int) -> None:
        super().__init__()
        flat = horizon * action_width
        self.time = TimeEmbedding(width)
        self.condition = nn.Linear(condition_width, width)
        self.rows_in = nn.Linear(flat, width)
        self.blocks = nn.ModuleList([MLPBlock(width) for _ in range(depth)])
        self.norm = TokenNorm()
        self.rows_out = zero_init(nn.Linear(width, flat))

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Predict the chunk."""
        condition = nn.functional.silu(self.time(t) + self.condition(cond))
        features = self.rows_in(x.flatten(1)) + condition
        for block in self.blocks:
            features = block(features, condition)
        return self.rows_out(self.norm(features)).reshape(x.shape)  # type: ignore[no-any-return]
