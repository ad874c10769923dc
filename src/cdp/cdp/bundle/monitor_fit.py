"""From a bundle and its data set to what :mod:`cdp.runtime.monitor` compares with: one pass over training windows, one over held-out ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdp.bundle.errors import BundleError
from cdp.bundle.manifest import WEIGHTS
from cdp.bundle.monitor import FORMAT, FigureReference, MonitorFacts, MonitorReference, distances
from cdp.bundle.reader import Bundle
from cdp.config import setting
from cdp.data.dataset import DemoDataset
from cdp.data.window import WindowArrays
from cdp.geometry import FloatArray
from cdp.runtime.config import ONNX_BACKENDS, ONNXRUNTIME, RuntimeConfig
from cdp.runtime.monitor import DEFAULT_SEEDS, Figures, SamplerMonitor
from cdp.train.validation import even_rows

_BLOCK = 64
_SMALLEST_EIGENVALUE = 1e-12
Advance = Callable[[int], object]


@dataclass(frozen=True)
class FitConfig:
    """How the reference is made."""

    quantile: float = setting(0.99, low=0.5, high=1.0, help="quantile of held-out windows at which a figure begins to count as unusual")
    train_windows: int = setting(5000, low=2, high=10_000_000, help="training windows, evenly spread, that mean and covariance are of")
    valid_windows: int = setting(1000, low=2, high=10_000_000, help="held-out windows, evenly spread, that the thresholds are of")
    seeds: int = setting(DEFAULT_SEEDS, low=2, high=1024, help="noises, and pairs of them, of each window")
    backend: str = setting(ONNXRUNTIME, choices=ONNX_BACKENDS, help="inference engine of the two passes")


class Moments:
    """Mean (C,) and covariance (C, C) of rows that come in blocks, by the update of Chan, Golub and LeVeque (1979): no row is kept."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean: FloatArray = np.zeros(width)
        self._scatter: FloatArray = np.zeros((width, width))

    def add(self, rows: NDArray[np.floating]) -> None:
        """Take rows (B, C)."""
        values = np.asarray(rows, dtype=np.float64)
        added, total = len(values), self.count + len(values)
        centre = values.mean(axis=0)
        shift = centre - self.mean
        self._scatter += (values - centre).T @ (values - centre) + np.outer(shift, shift) * (self.count * added / total)
        self.mean = self.mean + shift * (added / total)
        self.count = total

    @property
    def covariance(self) -> FloatArray:
        """(C, C), divided by the number of rows."""
        return self._scatter / self.count


def oas_shrinkage(covariance: FloatArray, count: int) -> float:
    """Weight of the scaled identity that lowers the error of a covariance of ``count`` rows the most, for Gaussian rows.

    The oracle approximating shrinkage of Chen, Wiesel, Eldar and Hero (2010), equation 23.
    """
    width = len(covariance)
    square, squared_trace = float(np.square(covariance).sum()), float(np.trace(covariance)) ** 2
    denominator = (count + 1.0 - 2.0 / width) * (square - squared_trace / width)
    return min(1.0, ((1.0 - 2.0 / width) * square + squared_trace) / denominator) if denominator > 0.0 else 1.0


def whitening_of(covariance: FloatArray, shrinkage: float) -> FloatArray:
    """Matrix (C, C) that makes the shrunk covariance the identity. Raises :class:`BundleError` for features that do not vary."""
    width = len(covariance)
    scale = float(np.trace(covariance)) / width
    if not scale > _SMALLEST_EIGENVALUE:
        raise BundleError("the encoder gives the same features for every window: there is nothing to compare with; train the policy again")
    values, vectors = np.linalg.eigh((1.0 - shrinkage) * covariance + shrinkage * scale * np.eye(width))
    return np.asarray((vectors / np.sqrt(np.maximum(values, _SMALLEST_EIGENVALUE * scale))).T)


def fit(bundle: Bundle, train: DemoDataset, valid: DemoDataset, config: FitConfig | None = None, advance: Advance | None = None) -> MonitorReference:
    """The reference of ``bundle`` from both splits of one file, normalised by the bundle's statistics; ``advance`` hears of windows done.

    Raises :class:`BundleError` where the data say nothing, :class:`cdp.runtime.InferenceError` where the backend cannot run the bundle.
    """
    config = config if config is not None else FitConfig()
    done = advance if advance is not None else (lambda _: None)
    monitor = SamplerMonitor(bundle, RuntimeConfig(backend=config.backend), config.seeds, compare=False)
    moments: Moments | None = None
    for block in _blocks(train, config.train_windows):
        conditions = np.concatenate([monitor.encode(window) for window in block])
        moments = moments if moments is not None else Moments(conditions.shape[1])
        moments.add(conditions)
        done(len(block))
    if moments is None:
        raise BundleError(f"{train.path}: the train split has no windows; nothing was written")
    shrinkage = oas_shrinkage(moments.covariance, moments.count)
    whitening = whitening_of(moments.covariance, shrinkage)
    measured, conditions = _held_out(monitor, valid, config, done)
    mean = moments.mean.astype(np.float32)
    return MonitorReference(
        MonitorFacts(
            format=FORMAT,
            dataset=train.path.name,
            dataset_sha256=train.sha256,
            weights_sha256=bundle.manifest.files[WEIGHTS],
            train_windows=moments.count,
            valid_windows=len(conditions),
            valid_demonstrations=valid.num_demos,
            quantile=config.quantile,
            steps=monitor.steps,
            solver=monitor.solver,
            seeds=monitor.seeds,
            shrinkage=shrinkage,
            spread=FigureReference.of([f.spread for f in measured], config.quantile),
            lipschitz=FigureReference.of([f.lipschitz for f in measured], config.quantile),
            # The training data's own range is never unusual, however little of it the held-out windows cover.
            extent=FigureReference.of([f.extent for f in measured], config.quantile, least=1.0),
            distance=FigureReference.of(distances(conditions, mean, whitening), config.quantile),
        ),
        mean,
        whitening.astype(np.float32),
    )


def _held_out(monitor: SamplerMonitor, valid: DemoDataset, config: FitConfig, done: Advance) -> tuple[list[Figures], NDArray[np.float32]]:
    measured, conditions = [], []
    for block in _blocks(valid, config.valid_windows):
        for window in block:
            conditions.append(monitor.encode(window))
            measured.append(monitor.figures(conditions[-1], window["lowdim"]))
        done(len(block))
    return measured, np.concatenate(conditions)


def _blocks(data: DemoDataset, count: int) -> Iterator[list[WindowArrays]]:
    rows = even_rows(len(data), count)
    for start in range(0, len(rows), _BLOCK):
        batch = data.batch(rows[start : start + _BLOCK])
        yield [{"image": image, "lowdim": lowdim} for image, lowdim in zip(batch["image"], batch["lowdim"], strict=True)]
