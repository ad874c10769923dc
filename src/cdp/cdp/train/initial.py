"""Weights to start a training from: those of a bundle, all of them, or only its encoder, which then stays as it is."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from cdp.bundle.errors import BundleError
from cdp.bundle.policy import load_policy
from cdp.bundle.reader import Bundle
from cdp.config import ConfigError
from cdp.data.normalise import Stats
from cdp.networks.policy import VisionPolicy
from cdp.train.config import TrainConfig


def open_initial(config: TrainConfig) -> Bundle | None:
    """The bundle ``config.initial``, None where there is none. Raises :class:`ConfigError` where it is missing or its observations differ."""
    if config.initial is None:
        return None
    try:
        bundle = Bundle.open(config.initial)
    except BundleError as error:
        raise ConfigError(f"initial: {error}") from None
    for key in ("image_key", "image_size", "lowdim_keys", "window"):
        have, asked = getattr(bundle.policy.observation, key), getattr(config.observation, key)
        if have != asked:
            raise ConfigError(f"initial: {config.initial} was trained with observation.{key} {have!r}, not {asked!r}; make the two the same")
    return bundle


def initial_stats(bundle: Bundle | None) -> Stats | None:
    """The ranges that the weights of ``bundle`` were trained with. With others they would see, and mean, something else."""
    return None if bundle is None else bundle.stats


def start_from(policy: VisionPolicy, bundle: Bundle, freeze_encoder: bool) -> None:
    """Copy the weights of ``bundle`` into ``policy``; with ``freeze_encoder`` only the encoder's, which then has no gradient.

    Raises :class:`ConfigError`, naming the first tensor that does not fit, and leaves ``policy`` as it was.
    """
    given = load_policy(bundle)
    pairs = [(policy.encoder, given.encoder)] if freeze_encoder else [(policy.encoder, given.encoder), (policy.denoiser, given.denoiser)]
    for mine, theirs in pairs:
        _check_fit(_shapes(mine), _shapes(theirs), bundle.path)
    for mine, theirs in pairs:
        mine.load_state_dict(theirs.state_dict())
    if freeze_encoder:
        policy.encoder.requires_grad_(False)


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def _check_fit(asked: dict[str, tuple[int, ...]], have: dict[str, tuple[int, ...]], path: Path) -> None:
    for name in sorted(asked.keys() | have.keys()):
        if asked.get(name) != have.get(name):
            raise ConfigError(
                f"initial: {path} does not fit the network of this configuration: its {name} is {have.get(name, 'absent')}, "
                f"{asked.get(name, 'absent')} is needed; take the network section of its config.yaml"
            )
