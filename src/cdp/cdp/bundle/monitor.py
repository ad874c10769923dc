"""What a bundle knows of the observations that its policy was trained on, for :mod:`cdp.runtime.monitor`.

``monitor.json`` holds the thresholds, ``monitor.safetensors`` the features. Reading needs no torch. A bundle without the two files is sound;
``cdp monitor`` adds them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cdp.bundle.errors import BundleError
from cdp.bundle.manifest import MONITOR, MONITOR_FEATURES, WEIGHTS
from cdp.bundle.reader import Bundle
from cdp.config import ConfigError, from_mapping, setting, to_mapping
from cdp.geometry import FloatArray

FORMAT = "cdp-monitor-1"
LEVELS = tuple(i / 100 for i in range(101))
"""Levels of the quantiles that are kept of each figure."""
_SMALLEST_THRESHOLD = 1e-9
_AGAIN = "write it anew with `cdp monitor`"


@dataclass(frozen=True)
class FigureReference:
    """One figure on held-out windows: the value from which it counts as unusual, and its quantiles at :data:`LEVELS`."""

    threshold: float = setting(low=0.0, help="unusual above this")
    quantiles: tuple[float, ...] = setting(low=0.0, help="quantiles of held-out windows at 0, 0.01, ..., 1")

    @classmethod
    def of(cls, values: ArrayLike, quantile: float, least: float = 0.0) -> FigureReference:
        """Of the values (N,) of held-out windows; the threshold is their ``quantile``, no less than ``least``, and never 0."""
        held_out = np.asarray(values, dtype=np.float64)
        return cls(max(float(np.quantile(held_out, quantile)), least, _SMALLEST_THRESHOLD), tuple(float(v) for v in np.quantile(held_out, LEVELS)))

    def __post_init__(self) -> None:
        if len(self.quantiles) != len(LEVELS) or any(np.diff(self.quantiles) < 0.0):
            raise ConfigError(f"quantiles: needs {len(LEVELS)} ascending numbers, has {len(self.quantiles)}")
        if not self.threshold > 0.0:
            raise ConfigError(f"threshold: {self.threshold} is not above 0: a share of it would mean nothing")

    def share(self, value: float) -> float:
        """``value`` as a share of the threshold: unusual above 1. NaN stays NaN."""
        return value / self.threshold

    def quantile_of(self, value: float) -> float:
        """Share of the held-out windows that lie below ``value``, to the nearest hundredth or so."""
        return float(np.interp(value, self.quantiles, LEVELS))


@dataclass(frozen=True)
class MonitorFacts:
    """``monitor.json``."""

    spread: FigureReference
    """Standard deviation over the noises, normalised."""
    lipschitz: FigureReference
    """Ratio by which the sampler stretches a small difference of noise."""
    extent: FigureReference
    """Largest normalised low-dimensional value."""
    distance: FigureReference
    """Mahalanobis distance of the features from those of the training windows."""
    format: str = setting(choices=(FORMAT,))
    dataset: str = setting(help="name of the demonstrations' file")
    dataset_sha256: str = setting(help="SHA-256 of that file")
    weights_sha256: str = setting(help="SHA-256 of the weights whose encoder gave the features")
    train_windows: int = setting(low=2, help="windows that mean and covariance are of")
    valid_windows: int = setting(low=1, help="held-out windows that the thresholds are of")
    valid_demonstrations: int = setting(low=1, help="demonstrations that those windows are from: neighbours in one are alike")
    quantile: float = setting(low=0.5, high=1.0, help="of held-out windows, at which a figure begins to count as unusual")
    steps: int = setting(low=1, high=100, help="sampler steps of spread and lipschitz")
    solver: str = setting(help="solver of spread and lipschitz")
    seeds: int = setting(low=2, high=1024, help="noises, and pairs of them, of each window")
    shrinkage: float = setting(low=0.0, high=1.0, help="weight of the scaled identity in the covariance")


@dataclass(frozen=True, eq=False)
class MonitorReference:
    """``facts``, and the training features: their mean (C,), and the matrix (C, C) that makes their covariance the identity."""

    facts: MonitorFacts
    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]

    def distance(self, condition: ArrayLike) -> FloatArray:
        """Mahalanobis distances (B,) of conditions (B, C) from the training features."""
        return distances(condition, self.mean, self.whitening)

    def save(self, folder: Path) -> None:
        """Write both files into ``folder``."""
        (folder / MONITOR).write_text(json.dumps(to_mapping(self.facts), indent=1) + "\n", encoding="utf-8")
        # Contiguous: safetensors writes the bytes of an array as they lie, transposed or not.
        save_file(
            {name: np.ascontiguousarray(value) for name, value in (("mean", self.mean), ("whitening", self.whitening))},
            str(folder / MONITOR_FEATURES),
        )


def distances(conditions: ArrayLike, mean: ArrayLike, whitening: ArrayLike) -> FloatArray:
    """``|W (c - m)|`` (B,) of conditions (B, C), mean m (C,) and W (C, C): Mahalanobis where W makes their covariance the identity."""
    centred = np.asarray(conditions, dtype=np.float64) - np.asarray(mean, dtype=np.float64)
    return np.asarray(np.linalg.norm(centred @ np.asarray(whitening, dtype=np.float64).T, axis=-1))


def load_reference(bundle: Bundle) -> MonitorReference | None:
    """The reference of an opened bundle, None where it has none. Raises :class:`BundleError` for one that does not belong to its policy."""
    if MONITOR not in bundle.manifest.files and MONITOR_FEATURES not in bundle.manifest.files:
        return None
    path = bundle.path / MONITOR
    try:
        facts = from_mapping(MonitorFacts, json.loads(path.read_text(encoding="utf-8")))
        tensors = load_file(str(bundle.path / MONITOR_FEATURES))
        reference = MonitorReference(facts, tensors["mean"], tensors["whitening"])
    except (OSError, ConfigError, SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"{path}: {error}; {_AGAIN} {bundle.path}") from None
    width = reference.mean.size
    if reference.mean.shape != (width,) or reference.whitening.shape != (width, width):
        raise BundleError(f"{bundle.path / MONITOR_FEATURES}: mean and matrix are not of one width; {_AGAIN} {bundle.path}")
    if facts.weights_sha256 != bundle.manifest.files[WEIGHTS]:
        raise BundleError(f"{path} is of other weights than those of {bundle.name}; {_AGAIN} {bundle.path}")
    return reference
