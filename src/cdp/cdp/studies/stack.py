"""Many small denoisers trained at once.

One step of a tiny network costs the overhead of its calls, not its arithmetic: the members of a stack share each call. A sample names its member in
the last column of its condition, so that losses and penalties written for one network take a stack as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cdp.networks.mlp import MLPDenoiser


class MLPStack:
    """M :class:`MLPDenoiser` of one shape; each member computes what its own network would.

    ``flat`` (M, P) is the one parameter, so that an optimiser's step is a few calls too; ``parameters[name]`` (M, ...) are views of it, which
    :meth:`refresh` makes anew after a step.
    """

    def __init__(self, members: Sequence[MLPDenoiser]) -> None:
        self.size = len(members)
        self.depth = len(members[0].blocks)
        self.frequencies = members[0].time.frequencies
        self.epsilon = members[0].norm.epsilon
        self._shapes = {name: value.shape for name, value in members[0].named_parameters()}
        self.flat = torch.stack([torch.cat([p.detach().flatten() for p in member.parameters()]) for member in members]).requires_grad_()
        self.refresh()

    def refresh(self) -> None:
        """Take the parameters from ``flat`` again."""
        self.parameters = self.named(self.flat)

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Values (M, P) as ``name -> (M, ...)``."""
        parts = torch.split(flat, [shape.numel() for shape in self._shapes.values()], dim=1)
        return {name: part.reshape(self.size, *shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def denoise(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Noisy chunks (B, T, D), times (B,), conditions (B, C + 1), the last column the member -> clean chunks (B, T, D).

        Samples may come in any order, each member having the same number of them.
        """
        order = torch.argsort(cond[:, -1], stable=True)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        shape = (self.size, len(x) // self.size, -1)
        out = self._forward(x.flatten(1)[order].reshape(shape), t[order].reshape(shape), cond[order, :-1].reshape(shape))
        return out.flatten(0, 1)[back].reshape(x.shape)

    def _forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        angle = t * self.frequencies
        time = self._linear("time.layers.0", torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1))
        time = self._linear("time.layers.2", nn.functional.silu(time))
        condition = nn.functional.silu(time + self._linear("condition", cond))
        features = self._linear("rows_in", x) + condition
        for i in range(self.depth):
            scale, shift = self._linear(f"blocks.{i}.modulation", condition).chunk(2, dim=-1)
            inner = self._linear(f"blocks.{i}.layers.0", self._norm(features) * (1.0 + scale) + shift)
            features = features + self._linear(f"blocks.{i}.layers.2", nn.functional.silu(inner))
        return self._linear("rows_out", self._norm(features))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return torch.baddbmm(self.parameters[f"{name}.bias"][:, None], x, self.parameters[f"{name}.weight"].transpose(1, 2))

    def _norm(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        return centred * torch.rsqrt((centred * centred).mean(dim=-1, keepdim=True) + self.epsilon)
