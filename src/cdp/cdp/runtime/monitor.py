"""How far a policy can be trusted on the observation that it sees now: what its noise decides, and how far the observation is from its training data.

A reading is a function of the window alone: its noises are the same every time, so that two readings of one scene compare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.bundle.monitor import FigureReference, load_reference
from cdp.bundle.reader import Bundle
from cdp.data.window import WindowArrays
from cdp.diffusion.sampler import sample
from cdp.runtime.config import RuntimeConfig
from cdp.runtime.errors import InferenceError
from cdp.runtime.monitor_figures import ActionSpreadSI, action_std, action_std_si, extent, pair_ratios, paired_noise
from cdp.runtime.networks import open_engine

DEFAULT_SEEDS = 8
OOD = ("extent", "distance")
"""The shares that say that an observation is unlike the training data; the others say that the noise decides the action."""


@dataclass(frozen=True)
class Figures:
    """What is measured of one window. ``distance`` is NaN without a reference."""

    spread: float
    """Standard deviation over the noise seeds, normalised, root mean square over the chunk."""
    spread_si: ActionSpreadSI
    lipschitz: float
    """Median over the pairs of the ratio by which the sampler stretches a small difference of noise."""
    extent: float
    """Largest normalised low-dimensional value; 1 is the edge of the training data's range."""
    distance: float
    """Mahalanobis distance of the encoder's features from those of the training data."""


@dataclass(frozen=True)
class MonitorReading:
    """:class:`Figures` of one window, and each as a share of its threshold, above 1 where it is unusual; no share without a threshold."""

    figures: Figures
    shares: Mapping[str, float]
    distance_quantile: float
    """Share of held-out windows that are nearer to the training data; NaN without a reference."""
    cost_ms: float

    @property
    def share(self) -> float:
        """The largest share, NaN where one is NaN or there is none."""
        return _largest(self.shares.values())

    @property
    def ood_share(self) -> float:
        """The larger of the shares that are about the observation; NaN without a reference."""
        return _largest(value for name, value in self.shares.items() if name in OOD)

    @property
    def worst(self) -> str:
        """The figure of the largest share, or that has none because it is NaN; empty where there is no threshold."""
        return max(self.shares, key=lambda name: (math.isnan(self.shares[name]), self.shares[name]), default="")


class SamplerMonitor:
    """Reads windows by networks of its own, beside a running :class:`cdp.runtime.PolicyRuntime` of the same ``bundle`` and ``config``.

    Steps, solver, backend and precision are those of ``config``; its temperature and initial noise are not: the noise is standard normal, as that of
    the thresholds. ``seeds`` noises, and as many pairs of them, are sampled in one batch; by default as many as the thresholds are of. Without
    ``compare`` the bundle's reference is left unread. Not thread-safe. Raises :class:`InferenceError` where the backend cannot run the bundle,
    :class:`cdp.bundle.BundleError` for a reference that does not belong to it.
    """

    def __init__(self, bundle: Bundle, config: RuntimeConfig | None = None, seeds: int | None = None, compare: bool = True) -> None:
        config = config if config is not None else RuntimeConfig()
        policy, observation = bundle.policy, bundle.policy.observation
        self.bundle = bundle
        self.reference = load_reference(bundle) if compare else None
        self.steps = config.steps if config.steps is not None else policy.steps
        self.solver = config.solver if config.solver is not None else policy.solver
        self.seeds = seeds or (self.reference.facts.seeds if self.reference is not None else DEFAULT_SEEDS)
        size, shape = observation.image_size, (policy.horizon, policy.action_width)
        self._noise = paired_noise(self.seeds, shape, np.random.default_rng(0))
        lowdim_shape = (observation.window, observation.lowdim_width)
        engine = open_engine(bundle, config)
        self._encoder = engine.load("encoder", {"image": (1, observation.window, 3, size, size), "lowdim": (1, *lowdim_shape)})
        self._blank: WindowArrays = {
            "image": np.zeros((observation.window, size, size, 3), dtype=np.uint8),
            "lowdim": np.zeros(lowdim_shape, dtype=np.float32),
        }
        width, count = self.encode(self._blank).shape[-1], len(self._noise)
        self._denoiser = engine.load("denoiser", {"x": (count, *shape), "t": (count,), "cond": (count, width)})
        if self.reference is not None and self.reference.mean.size != width:
            raise InferenceError(
                f"the reference of {bundle.name} is of {self.reference.mean.size} features, its encoder gives {width}; "
                f"write it anew with `cdp monitor {bundle.path}`"
            )

    @property
    def without_thresholds(self) -> str:
        """Why some figures have no threshold and what to do, empty where all have one."""
        if self.reference is None:
            return f"the bundle has no reference data: out-of-distribution detection is off; add it with `cdp monitor {self.bundle.path}`"
        facts = self.reference.facts
        if (facts.steps, facts.solver) != (self.steps, self.solver):
            return (
                f"the thresholds of spread and lipschitz are for {facts.solver} in {facts.steps} steps, not {self.solver} in {self.steps}: "
                "these two are measured without one"
            )
        return ""

    def warm_up(self) -> float:
        """Read a blank window twice, so that the first real reading is not slow; the time of the second [ms]."""
        self.read(self._blank)
        return self.read(self._blank).cost_ms

    def encode(self, window: WindowArrays) -> NDArray[np.float32]:
        """Condition (1, C) of a window: image (To, S, S, 3) uint8, lowdim (To, P) float32 normalised."""
        return self._encoder({"image": window["image"][None], "lowdim": np.ascontiguousarray(window["lowdim"], dtype=np.float32)[None]})

    def read(self, window: WindowArrays) -> MonitorReading:
        """The reading of one window."""
        start = perf_counter()
        figures = self.figures(self.encode(window), window["lowdim"])
        quantile = math.nan if self.reference is None else self.reference.facts.distance.quantile_of(figures.distance)
        return MonitorReading(figures, self.shares(figures), quantile, 1e3 * (perf_counter() - start))

    def figures(self, condition: NDArray[np.float32], lowdim: NDArray[np.float32]) -> Figures:
        """The figures of a condition (1, C) and its normalised low-dimensional rows (To, P)."""
        return self.sampled(condition, lowdim)[0]

    def sampled(self, condition: NDArray[np.float32], lowdim: NDArray[np.float32]) -> tuple[Figures, NDArray[np.float32]]:
        """:meth:`figures`, and the chunks (2 K, T, D) that they are of, normalised: K of independent noises, then those of their pairs."""
        conditions = np.repeat(condition, len(self._noise), axis=0)

        def denoise(x: Any, t: Any) -> Any:
            return self._denoiser({"x": x, "t": t, "cond": conditions})

        chunks = np.asarray(sample(denoise, self._noise, self.steps, self.solver, self.bundle.policy.schedule))
        figures = Figures(
            spread=action_std(chunks[: self.seeds]),
            spread_si=action_std_si(chunks[: self.seeds], self.bundle.stats.action),
            lipschitz=float(np.median(pair_ratios(self._noise, chunks))),
            extent=extent(lowdim),
            distance=math.nan if self.reference is None else float(self.reference.distance(condition)[0]),
        )
        return figures, chunks

    def shares(self, figures: Figures) -> dict[str, float]:
        """Each figure that has a threshold as a share of it."""
        if self.reference is None:
            return {}
        facts = self.reference.facts
        limits: dict[str, FigureReference] = {"extent": facts.extent, "distance": facts.distance}
        if (facts.steps, facts.solver) == (self.steps, self.solver):
            limits |= {"spread": facts.spread, "lipschitz": facts.lipschitz}
        return {name: limit.share(getattr(figures, name)) for name, limit in limits.items()}


def _largest(values: Any) -> float:
    return float(np.max([*values] or [math.nan]))
