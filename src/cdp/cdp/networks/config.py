"""What a network may be, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cdp.config import ConfigError, setting
from cdp.diffusion.prediction import PREDICTIONS


@dataclass(frozen=True)
class EncoderConfig:
    """Camera and state encoder: a backbone (a ResNet with GroupNorm, or a module of yours) on each frame, and the state of the window beside it."""

    kind: str = setting("vision", choices=("vision", "lowdim"), help="vision: images and state; lowdim: the state alone")
    backbone: str = setting("resnet", help="module that looks at each frame, in [-1, 1]: resnet, or package.module:factory of your own")
    backbone_options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of a factory of your own, e.g. ``{weights: DEFAULT}``."""
    blocks: tuple[int, ...] = setting((1, 1, 1, 1), low=1, high=8, help="residual blocks in each stage: 1 1 1 1 is ResNet-10, 2 2 2 2 ResNet-18")
    width: int = setting(32, low=8, high=128, help="channels of the first stage; each further stage doubles them")
    stem: str = setting(
        "patch", choices=("patch", "pool"), help="patch: one 8x8 convolution of stride 4; pool: ResNet's 7x7 and a maximum, twice as slow"
    )
    last_stride: int = setting(2, choices=(1, 2), help="stride of the last stage; 1 keeps a finer map for the keypoints")
    pooling: str = setting("both", choices=("average", "spatial_softmax", "both"), help="how a feature map becomes a vector")
    keypoints: int = setting(32, low=1, high=512, help="keypoints of the spatial softmax")
    crop_size: int = setting(88, low=16, high=512, help="[pixel] side of the crop: random in training, central on the robot")
    state_width: int = setting(64, low=8, high=4096, help="hidden width of the layers that see the state")
    state_depth: int = setting(1, low=1, high=16, help="hidden layers that see the state")
    condition_width: int = setting(256, low=8, high=4096, help="C, width of the condition")

    def __post_init__(self) -> None:
        if self.width % 8:
            raise ConfigError(f"width: {self.width} is not a multiple of 8, the channels of one normalisation group")
        if self.backbone_options and ":" not in self.backbone:
            raise ConfigError(f"backbone_options: {self.backbone_options!r} are for a backbone of your own; {self.backbone!r} takes none")


@dataclass(frozen=True)
class DenoiserConfig:
    """Denoiser of the action chunk."""

    kind: str = setting(
        "dit",
        choices=("dit", "unet", "mlp", "pearce"),
        help="dit: transformer on the rows; unet: temporal convolutions; mlp: flat, for small d; pearce: flat, told its inputs again in every layer",
    )
    prediction: str = setting("x0", choices=PREDICTIONS, help="what the network predicts; the policy's denoiser gives x0 whatever this is")
    width: int = setting(192, low=8, high=2048, help="dit: token width; unet: channels of the first level; mlp, pearce: hidden width")
    depth: int = setting(4, low=1, high=24, help="dit: blocks; unet: levels, each halving the horizon; mlp, pearce: residual layers")
    heads: int = setting(6, low=1, high=32, help="dit: attention heads")
    kernel: int = setting(5, choices=(3, 5, 7), help="unet: taps of a convolution in time")

    def __post_init__(self) -> None:
        if self.width % 8:
            raise ConfigError(f"width: {self.width} is not a multiple of 8, the channels of one normalisation group")
        if self.kind == "dit" and self.width % self.heads:
            raise ConfigError(f"heads: {self.heads} does not divide the width {self.width}")


@dataclass(frozen=True)
class NetworkConfig:
    """Encoder and denoiser of one policy."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
