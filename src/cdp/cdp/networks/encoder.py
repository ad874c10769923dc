"""From a window of observations to the condition of the denoiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdp.networks.backbones import make_backbone, output_shape
from cdp.networks.config import EncoderConfig
from cdp.networks.layers import TokenNorm
from cdp.networks.resnet import make_pool


class VisionEncoder(nn.Module):
    """Condition (B, C) of a window of To camera frames and To state vectors.

    Crops the centre of the frames to ``config.crop_size`` (training hands it frames that a random crop has already brought to that size).
    """

    def __init__(self, config: EncoderConfig, window: int, lowdim_width: int) -> None:
        super().__init__()
        self.crop_size = config.crop_size
        # Called resnet whatever it is: the weights of bundles lie under this name.
        self.resnet = make_backbone(config)
        shape = output_shape(self.resnet, config.crop_size)
        width = shape[0]
        self.pool: nn.Module = nn.Identity()
        if len(shape) == 3:
            self.pool = make_pool(config.pooling, shape[0], config.keypoints)
            width = self.pool.width
        self._seen_width = window * width
        self.lowdim = state_layers(window * lowdim_width, config)
        self.norm = TokenNorm()
        self.fuse = nn.Linear(self._seen_width + config.state_width, config.condition_width)

    def forward(self, image: Tensor, lowdim: Tensor) -> Tensor:
        """``image`` (B, To, 3, H, W) in [0, 1] and normalised ``lowdim`` (B, To, P) -> condition (B, C)."""
        frames = centre_crop(image, self.crop_size).flatten(0, 1) * 2.0 - 1.0
        seen = self.pool(self.resnet(frames)).reshape(image.shape[0], self._seen_width)
        return self.norm(self.fuse(torch.cat([seen, self.lowdim(lowdim.flatten(1))], dim=-1)))  # type: ignore[no-any-return]


class LowdimEncoder(nn.Module):
    """Condition (B, C) of a window of To state vectors: for policies without images."""

    def __init__(self, config: EncoderConfig, window: int, lowdim_width: int) -> None:
        super().__init__()
        self.lowdim = state_layers(window * lowdim_width, config)
        self.norm = TokenNorm()
        self.fuse = nn.Linear(config.state_width, config.condition_width)

    def forward(self, image: Tensor | None, lowdim: Tensor) -> Tensor:
        """Normalised ``lowdim`` (B, To, P) -> condition (B, C). ``image`` is not looked at: it stands here so that every encoder is called alike."""
        return self.norm(self.fuse(self.lowdim(lowdim.flatten(1))))  # type: ignore[no-any-return]


def state_layers(width_in: int, config: EncoderConfig) -> nn.Sequential:
    """(B, width_in) -> (B, ``state_width``) through ``state_depth`` hidden layers."""
    layers: list[nn.Module] = []
    for _ in range(config.state_depth):
        layers += [nn.Linear(width_in, config.state_width), nn.SiLU()]
        width_in = config.state_width
    return nn.Sequential(*layers, nn.Linear(config.state_width, config.state_width))


def centre_crop(image: Tensor, size: int) -> Tensor:
    """The central ``size`` x ``size`` of (..., H, W); unchanged where H and W already are ``size``. Raises ValueError where they are smaller."""
    height, width = image.shape[-2], image.shape[-1]
    if height < size or width < size:
        raise ValueError(f"a {height}x{width} image is smaller than the crop of {size} pixels")
    top, left = (height - size) // 2, (width - size) // 2
    return image[..., top : top + size, left : left + size]
