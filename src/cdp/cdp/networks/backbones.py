"""Image backbones by name: the ResNet of this package, or a module of the user's own (torchvision, timm, anything importable)."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cdp.config import ConfigError
from cdp.networks.config import EncoderConfig
from cdp.networks.resnet import ResNet

_LARGEST_GROUPS = 32


def _resnet(config: EncoderConfig) -> nn.Module:
    return ResNet(config.blocks, config.width, config.last_stride, config.stem)


#: Backbones that go by a short name: ``factory(config) -> module`` from images (N, 3, H, W) to maps (N, F, h, w) or vectors (N, F).
BACKBONES: dict[str, Callable[[EncoderConfig], nn.Module]] = {"resnet": _resnet}


def make_backbone(config: EncoderConfig) -> nn.Module:
    """The backbone that ``config.backbone`` names, called as ``factory(**config.backbone_options)`` where it is ``package.module:factory``.

    Batch normalisation in it is replaced by group normalisation: the moving average of the weights does not follow running statistics, and small
    batches have poor ones. Such a name imports and runs the code it names: take configurations from people whose code you would run.
    Raises :class:`ConfigError` where the name leads to no module.
    """
    name = config.backbone
    if name in BACKBONES:
        return BACKBONES[name](config)
    path, _, attribute = name.partition(":")
    if not path or not attribute:
        raise ConfigError(f"network.encoder.backbone: {name!r} is neither one of {', '.join(map(repr, BACKBONES))} nor 'package.module:factory'")
    try:
        factory = getattr(importlib.import_module(path), attribute)
        module = factory(**config.backbone_options)
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(f"network.encoder.backbone: {name!r} with options {config.backbone_options} does not work ({error})") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"network.encoder.backbone: {name!r} gave a {type(module).__name__}, not a torch.nn.Module")
    return with_group_norm(module)


def output_shape(backbone: nn.Module, size: int) -> tuple[int, ...]:
    """Shape of what the backbone makes of one image of ``size`` pixels a side: (F, h, w) or (F,). Raises :class:`ConfigError` for anything else."""
    training = backbone.training
    with torch.no_grad():
        out = backbone.eval()(torch.zeros(1, 3, size, size))
    backbone.train(training)
    if not isinstance(out, Tensor) or out.ndim not in (2, 4) or len(out) != 1:
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ConfigError(f"network.encoder.backbone: gives {found} for one image; it has to give a map (1, F, h, w) or a vector (1, F)")
    return tuple(out.shape[1:])


def with_group_norm(module: nn.Module) -> nn.Module:
    """``module`` with every BatchNorm2d replaced by a GroupNorm of the same gains and biases.

    Raises :class:`ConfigError` for other kinds of batch normalisation.
    """
    if type(module) is nn.BatchNorm2d:
        channels = module.num_features
        norm = nn.GroupNorm(math.gcd(channels, _LARGEST_GROUPS), channels, module.eps, module.affine)
        if module.affine:
            norm.load_state_dict({"weight": module.weight, "bias": module.bias})
        return norm
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        raise ConfigError(
            f"network.encoder.backbone: has a {type(module).__name__}, which cannot be replaced by GroupNorm; ask its factory for another"
        )
    for name, child in module.named_children():
        setattr(module, name, with_group_norm(child))
    return module
