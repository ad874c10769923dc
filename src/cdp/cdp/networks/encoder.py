"""From a window of observations to the condition of the denoiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdp.networks.config import EncoderConfig
from cdp.networks.layers import TokenNorm
from cdp.networks.resnet import ResNet, make_pool


class VisionEncoder(nn.Module):
    """Condition (B, C) of a window of To camera frames and To state vectors.

    Crops the centre of the frames to ``config.crop_size`` (training hands it frames that a random crop has already brought to that size).
    """

    def __init__(self, config: EncoderConfig, window: int, lowdim_width: int) -> None:
        super().__init__()
        self.crop_size = config.crop_size
        self.resnet = ResNet(config.blocks, config.width, config.last_stride, config.stem)
        self.pool = make_pool(config.pooling, self.resnet.channels, config.keypoints)
        self.lowdim = nn.Sequential(nn.Linear(window * lowdim_width, 64), nn.SiLU(), nn.Linear(64, 64))
        self.norm = TokenNorm()
        self.fuse = nn.Linear(window * self.pool.width + 64, config.condition_width)

    def forward(self, image: Tensor, lowdim: Tensor) -> Tensor:
        """``image`` (B, To, 3, H, W) in [0, 1] and normalised ``lowdim`` (B, To, P) -> condition (B, C)."""
        batch, window = image.shape[0], image.shape[1]
        frames = centre_crop(image, self.crop_size).flatten(0, 1) * 2.0 - 1.0
        seen = self.pool(self.resnet(frames)).reshape(batch, window * self.pool.width)
        return self.norm(self.fuse(torch.cat([seen, self.lowdim(lowdim.flatten(1))], dim=-1)))  # type: ignore[no-any-return]


def centre_crop(image: Tensor, size: int) -> Tensor:
    """The central ``size`` x ``size`` of (..., H, W); unchanged where H and W already are ``size``. Raises ValueError where they are smaller."""
    height, width = image.shape[-2], image.shape[-1]
    if height < size or width < size:
        raise ValueError(f"a {height}x{width} image is smaller than the crop of {size} pixels")
    top, left = (height - size) // 2, (width - size) // 2
    return image[..., top : top + size, left : left + size]
