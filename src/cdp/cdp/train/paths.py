"""Which noise paths suit what a training asks of them."""

from __future__ import annotations

from cdp.config import ConfigError
from cdp.diffusion.path import NoisePath


def check_path(path: NoisePath, prediction: str, label: str) -> None:
    """Raises :class:`ConfigError` for a prediction or a penalty that is not defined all along ``path``, both for want of alpha > 0 at its end."""
    if path.alpha(path.t_max) > 0.0:
        return
    end = f"where alpha is 0 at t = {path.t_max} of {path.kind}; lower diffusion.t_max"
    if prediction == "eps":
        raise ConfigError(f"network.denoiser.prediction: 'eps' says nothing of the action {end}, or choose 'x0', 'v' or 'flow'")
    if label == "cdp-paper":
        raise ConfigError(f"contraction.label: 'cdp-paper' is written in f and g of the path, unbounded {end}, or choose 'cdp-hinge'")
