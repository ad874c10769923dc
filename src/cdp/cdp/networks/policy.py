"""A whole policy: encoder and denoiser, built from one typed configuration."""

from __future__ import annotations

from torch import Tensor, nn

from cdp.diffusion.path import NoisePath
from cdp.diffusion.schedule import Schedule
from cdp.networks.config import DenoiserConfig, NetworkConfig
from cdp.networks.dit import DiT1d
from cdp.networks.encoder import LowdimEncoder, VisionEncoder
from cdp.networks.mlp import MLPDenoiser
from cdp.networks.pearce import PearceMLP
from cdp.networks.prediction import ConvertedDenoiser
from cdp.networks.unet import UNet1d

Denoiser = DiT1d | UNet1d | MLPDenoiser | PearceMLP | ConvertedDenoiser
Encoder = VisionEncoder | LowdimEncoder


class VisionPolicy(nn.Module):
    """An encoder, run once an observation, and a denoiser, run once a sampler step. The two are exported separately."""

    def __init__(self, encoder: Encoder, denoiser: Denoiser, horizon: int, action_width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.denoiser = denoiser
        self.horizon = horizon
        self.action_width = action_width

    def encode(self, image: Tensor | None, lowdim: Tensor) -> Tensor:
        """``image`` (B, To, 3, H, W) in [0, 1], normalised ``lowdim`` (B, To, P) -> condition (B, C). A low-dimensional encoder takes no image."""
        return self.encoder(image, lowdim)  # type: ignore[no-any-return]

    def denoise(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Noisy normalised chunk (B, T, D) at times (B,) in (0, 1], condition (B, C) -> x0 (B, T, D)."""
        return self.denoiser(x, t, cond)  # type: ignore[no-any-return]


def build_denoiser(config: DenoiserConfig, horizon: int, action_width: int, condition_width: int, schedule: NoisePath | None = None) -> Denoiser:
    """The x0 denoiser that ``config`` names, of states on the path ``schedule`` (VP cosine where it is None).

    Raises ValueError where the horizon does not suit it, or the prediction not the path.
    """
    network = _build_network(config, horizon, action_width, condition_width)
    path = schedule if schedule is not None else Schedule()
    if config.prediction == "x0" and not path.standardises:
        return network
    return ConvertedDenoiser(network, config.prediction, path)


def _build_network(config: DenoiserConfig, horizon: int, action_width: int, condition_width: int) -> DiT1d | UNet1d | MLPDenoiser | PearceMLP:
    if config.kind == "dit":
        return DiT1d(horizon, action_width, condition_width, config.width, config.depth, config.heads)
    if config.kind == "unet":
        return UNet1d(horizon, action_width, condition_width, config.width, config.depth, config.kernel)
    flat = MLPDenoiser if config.kind == "mlp" else PearceMLP
    return flat(horizon, action_width, condition_width, config.width, config.depth)


def build_policy(
    config: NetworkConfig, *, lowdim_width: int, action_width: int, window: int, horizon: int, schedule: NoisePath | None = None
) -> VisionPolicy:
    """A freshly initialised policy for ``window`` (To) frames, ``lowdim_width`` (P) state numbers and chunks (``horizon``, ``action_width``).

    ``schedule`` as in :func:`build_denoiser`. Raises :class:`~cdp.config.ConfigError` for a backbone that does not work.
    """
    encoder_class = VisionEncoder if config.encoder.kind == "vision" else LowdimEncoder
    encoder = encoder_class(config.encoder, window, lowdim_width)
    denoiser = build_denoiser(config.denoiser, horizon, action_width, config.encoder.condition_width, schedule)
    return VisionPolicy(encoder, denoiser, horizon, action_width)


def parameter_count(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())
