"""ResNet image features with GroupNorm (arXiv 1512.03385, 1803.08494) and the poolings that turn a map into a vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cdp.networks.layers import groups_of


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut: (B, C, H, W) -> (B, C', H / stride, W / stride)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.GroupNorm(groups_of(channels), channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.GroupNorm(groups_of(channels), channels),
        )
        same = stride == 1 and channels_in == channels
        shortcut = [] if same else [nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.GroupNorm(groups_of(channels), channels)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Residual sum, rectified."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """Feature map (B, ``channels``, h, w) of images (B, 3, H, W); h = H / 32, or H / 16 with ``last_stride`` 1 (four stages)."""

    def __init__(self, blocks: Sequence[int], width: int, last_stride: int, stem: str) -> None:
        super().__init__()
        first = nn.Conv2d(3, width, 8, 4, 2, bias=False) if stem == "patch" else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        layers: list[nn.Module] = [first, nn.GroupNorm(groups_of(width), width), nn.ReLU(inplace=True)]
        if stem == "pool":
            layers.append(nn.MaxPool2d(3, 2, 1))
        channels = width
        for stage, count in enumerate(blocks):
            stride = 1 if stage == 0 else last_stride if stage == len(blocks) - 1 else 2
            for block in range(count):
                layers.append(BasicBlock(channels, width * 2**stage, stride if block == 0 else 1))
                channels = width * 2**stage
        self.layers = nn.Sequential(*layers)
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """Feature map of each image."""
        return self.layers(images)  # type: ignore[no-any-return]


class AveragePool(nn.Module):
    """Mean over the map: (B, C, h, w) -> (B, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = channels

    def forward(self, features: Tensor) -> Tensor:
        """Mean over both spatial axes."""
        return features.mean(dim=(2, 3))


class SpatialSoftmax(nn.Module):
    """Expected image positions of learned keypoints (arXiv 1504.00702): (B, C, h, w) -> (B, 2 K), in [-1, 1]."""

    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.keypoints = nn.Conv2d(channels, keypoints, 1)
        self.width = 2 * keypoints

    def forward(self, features: Tensor) -> Tensor:
        """Softmax over the map, then the mean x and y under it."""
        maps = self.keypoints(features)
        batch, count, height, width = maps.shape
        weights = torch.softmax(maps.reshape(batch, count, height * width), dim=-1).reshape(batch, count, height, width)
        rows = torch.linspace(-1.0, 1.0, height, dtype=maps.dtype, device=maps.device)
        columns = torch.linspace(-1.0, 1.0, width, dtype=maps.dtype, device=maps.device)
        y = (weights.sum(dim=3) * rows).sum(dim=-1)
        x = (weights.sum(dim=2) * columns).sum(dim=-1)
        return torch.cat([x, y], dim=-1)


class BothPools(nn.Module):
    """What is seen (average) beside where it is (keypoints): (B, C, h, w) -> (B, C + 2 K)."""

    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.average, self.softmax = AveragePool(channels), SpatialSoftmax(channels, keypoints)
        self.width = self.average.width + self.softmax.width

    def forward(self, features: Tensor) -> Tensor:
        """Both vectors, concatenated."""
        return torch.cat([self.average(features), self.softmax(features)], dim=-1)


def make_pool(pooling: str, channels: int, keypoints: int) -> AveragePool | SpatialSoftmax | BothPools:
    """The pooling that a configuration names."""
    if pooling == "average":
        return AveragePool(channels)
    if pooling == "spatial_softmax":
        return SpatialSoftmax(channels, keypoints)
    return BothPools(channels, keypoints)
