"""Sampling an action chunk from a bundle's networks."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.actions import GRIPPER, GRIPPER_MAX_WIDTH_M, ROT6D, gripper_to_width_m
from cdp.bundle.reader import Bundle
from cdp.config import ConfigError, from_mapping, to_mapping
from cdp.data.window import WindowArrays
from cdp.diffusion.inpaint import guided
from cdp.diffusion.sampler import sample
from cdp.geometry import FloatArray, orthonormal_rot6d
from cdp.runtime.config import CHANGEABLE, OPENVINO, WARM, ZERO, RuntimeConfig
from cdp.runtime.errors import InferenceError
from cdp.runtime.frames import FrameEncoder
from cdp.runtime.networks import Ahead, Network, open_engine
from cdp.runtime.sampled import SampledDenoiser

_WARM_UP_CHUNKS = 3


@dataclass(frozen=True)
class ActionPrediction:
    """An action chunk and what it cost."""

    rows: FloatArray
    """(T, 10): x y z [m], 6-D rotation (orthonormal), gripper width [m]."""
    normalised: NDArray[np.float32]
    """(T, D): the sampler's output as it is."""
    encode_ms: float
    sample_ms: float


@dataclass(frozen=True)
class Overlap:
    """What the last chunk says of the rows of the next."""

    values: NDArray[np.float32]
    """(T, D) normalised, at the times of the next chunk's rows; beyond its end its last row."""
    rows: int
    """How many of them it reaches."""


@dataclass(frozen=True)
class Given:
    """Rows that the chunk is drawn to agree with (:mod:`cdp.diffusion.inpaint`)."""

    values: NDArray[np.float32]
    """(T, D) normalised."""
    weights: FloatArray
    """(T,) in [0, 1]; 1: met exactly, 0: free."""
    products: int = 0


class PolicyRuntime:
    """The policy of a bundle. Life cycle: construct, :meth:`warm_up`, then for each episode :meth:`reset` and :meth:`act` on every replanning tick.

    The same seed, bundle, windows and configuration at loading give the same chunks, whatever was sampled before. With ``openvino`` one that is
    reconfigured to other steps may differ by rounding from one that is loaded with them (:attr:`form`). One thread at a time may call it, but for
    :meth:`reconfigure`, which any may call at any time: it takes effect with the next chunk. Raises :class:`InferenceError` where the backend cannot
    run it.

    ``initial_noise`` says where the sampler starts. ``random`` is ``temperature`` times standard normal noise, ``zero`` its mean. ``warm`` is the
    last chunk x, moved to the new rows' times (the last row is repeated where it ends) and noised anew: ``alpha(t) x + sigma(t) temperature eps``
    with t the end of the path's part ``warm_level`` (:meth:`cdp.diffusion.path.NoisePath.window_end`), from which the sampler makes its steps. On
    every path that is the state that the denoiser was trained on if x is what will be done. With ``warm_level`` 1 it starts where it always does,
    where next to nothing of x is left (nothing on ``flow`` up to ``t_max`` 1). It is a heuristic for a sampler that remembers its start; one that
    contracts forgets it, so that there is little to gain there, and little to lose. An episode's first chunk starts from random noise.
    """

    def __init__(self, bundle: Bundle, config: RuntimeConfig | None = None) -> None:
        self.bundle = bundle
        self.config = config if config is not None else RuntimeConfig()
        policy, observation = bundle.policy, bundle.policy.observation
        size = observation.image_size
        self._image_shape = (observation.window, size, size, 3)
        self._lowdim_shape = (observation.window, observation.lowdim_width)
        self._chunk_shape = (1, policy.horizon, policy.action_width)
        engine = open_engine(bundle, self.config)
        self.provider, self.precision = engine.provider, engine.precision
        self._encoder = engine.load("encoder", {"image": (1, observation.window, 3, size, size), "lowdim": (1, *self._lowdim_shape)})
        condition_width = self._encode(self._blank()).shape[-1]
        self._denoiser = engine.load("denoiser", {"x": self._chunk_shape, "t": (1,), "cond": (1, condition_width)})
        self.reset()

    @property
    def steps(self) -> int:
        """Steps of the sampler."""
        return self._sampler(self.config)[0]

    @property
    def solver(self) -> str:
        """Solver of the sampler."""
        return self._sampler(self.config)[1]

    @property
    def engine(self) -> str:
        """What runs the networks: backend, device and precision in use, and with openvino :attr:`form`."""
        named = f"{self.config.backend} {self.provider} {self.precision}"
        return f"{named}, {self.form}" if self.config.backend == OPENVINO else named

    @property
    def form(self) -> str:
        """How encoder and denoiser are computed with the steps that are set: each in the quickest form that computes the same as the whole network.

        The encoder: ``frame by frame`` or ``whole windows``. The sampler: ``one call a chunk``; ``step by step``, with what depends on time and
        condition alone ahead; or ``whole network`` at each step. A chunk that has to agree with given rows is never one call.
        """
        windows = "frame by frame" if isinstance(self._encoder, FrameEncoder) else "whole windows"
        if isinstance(self._denoiser, SampledDenoiser) and self._denoiser.steps == self.steps:
            return f"{windows}, one call a chunk"
        return f"{windows}, {'step by step' if isinstance(self._once, Ahead) else 'whole network'}"

    def reconfigure(self, **changes: Any) -> None:
        """Change some of :data:`cdp.runtime.config.CHANGEABLE` from the next chunk on; another seed starts the noise anew.

        Raises :class:`ConfigError`, nothing changed, for a bad value and for a setting that the loaded networks are built with.
        """
        for name in changes:
            if name not in CHANGEABLE:
                raise ConfigError(f"{name}: cannot change while the policy is loaded, only {', '.join(CHANGEABLE)} can; load the bundle again")
        before, self.config = self.config, from_mapping(RuntimeConfig, {**to_mapping(self.config), **changes})
        if self.config.seed != before.seed:
            self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode: the noise starts anew from ``seed``, or from the configured one."""
        self._noise = np.random.default_rng(self.config.seed if seed is None else seed)

    def warm_up(self) -> float:
        """Run a few blank chunks, so that the first real one is not slow, and return the time of the last [ms]. The noise is left as it was.

        The time is of a chunk that is free. Those that have to agree with given rows are computed step by step, and are warm too.
        """
        blank = self._blank()
        noise = np.zeros(self._chunk_shape, dtype=np.float32)
        free = Given(noise[0], np.zeros(len(noise[0])))
        elapsed = 0.0
        for index in range(_WARM_UP_CHUNKS):
            # Other pixels each time: an engine that remembers frames has to look.
            blank["image"][...] = index + 1
            start = perf_counter()
            condition = self._encode(blank)
            self._sample(self.config, condition, noise)
            elapsed = perf_counter() - start
            self._sample(self.config, condition, noise, given=free)
        return 1e3 * elapsed

    def look(self, frame: NDArray[np.uint8]) -> None:
        """Look at a frame (S, S, 3) ahead of the chunk in whose window it will be, where the engine remembers frames. No chunk changes by it."""
        if isinstance(self._encoder, FrameEncoder):
            self._encoder.look(frame[None, None])

    def act(self, window: WindowArrays, overlap: Overlap | None = None, given: Given | None = None) -> ActionPrediction:
        """The chunk for one window: image (To, S, S, 3) uint8, lowdim (To, P) float32 normalised.

        ``overlap`` is what a warm start begins from, ``given`` what the chunk has to agree with.

        Raises ValueError for other shapes, :class:`InferenceError` where the networks give no action (NaN, or a rotation that is none).
        """
        if window["image"].shape != self._image_shape or window["image"].dtype != np.uint8 or window["lowdim"].shape != self._lowdim_shape:
            raise ValueError(
                f"a window is image {self._image_shape} uint8 and lowdim {self._lowdim_shape}, "
                f"not {window['image'].shape} {window['image'].dtype} and {window['lowdim'].shape}"
            )
        config = self.config
        start = perf_counter()
        condition = self._encode(window)
        encoded = perf_counter()
        noise, level = self._initial_noise(config, overlap)
        normalised = self._sample(config, condition, noise, level, given)[0]
        sampled = perf_counter()
        return ActionPrediction(self._rows(normalised), normalised, 1e3 * (encoded - start), 1e3 * (sampled - encoded))

    def _sampler(self, config: RuntimeConfig) -> tuple[int, str]:
        measured = self.bundle.policy
        return measured.steps if config.steps is None else config.steps, measured.solver if config.solver is None else config.solver

    @property
    def _once(self) -> Network:
        return self._denoiser.once if isinstance(self._denoiser, SampledDenoiser) else self._denoiser

    def _blank(self) -> WindowArrays:
        return {"image": np.zeros(self._image_shape, dtype=np.uint8), "lowdim": np.zeros(self._lowdim_shape, dtype=np.float32)}

    def _initial_noise(self, config: RuntimeConfig, overlap: Overlap | None) -> tuple[NDArray[np.float32], float | None]:
        """Unit noise (1, T, D) and None, or the state of a warm start and its time."""
        if config.initial_noise == ZERO:
            return np.zeros(self._chunk_shape, dtype=np.float32), None
        noise = np.float32(config.temperature) * self._noise.standard_normal(self._chunk_shape, dtype=np.float32)
        if config.initial_noise != WARM or overlap is None:
            return noise, None
        path = self.bundle.policy.schedule
        level = path.window_end(config.warm_level)
        return np.asarray(path.noised(overlap.values[None], noise, level), dtype=np.float32), level

    def _encode(self, window: WindowArrays) -> NDArray[np.float32]:
        return self._encoder({"image": window["image"][None], "lowdim": np.ascontiguousarray(window["lowdim"], dtype=np.float32)[None]})

    def _sample(
        self,
        config: RuntimeConfig,
        condition: NDArray[np.float32],
        noise: NDArray[np.float32],
        level: float | None = None,
        given: Given | None = None,
    ) -> NDArray[np.float32]:
        path = self.bundle.policy.schedule
        steps, solver = self._sampler(config)
        if given is None and isinstance(self._denoiser, SampledDenoiser) and self._denoiser.steps == steps:
            return self._denoiser.sample(noise, condition, solver, path, level)

        once = self._once
        if isinstance(once, Ahead):
            once.begin(path.time_grid(steps, level)[:-1].tolist())

        def denoise(x: Any, t: Any) -> Any:
            return once({"x": x, "t": t, "cond": condition})

        drawn = denoise if given is None else guided(denoise, given.values, given.weights, path, given.products)
        return np.asarray(sample(drawn, noise, steps, solver, path, start=level), dtype=np.float32)

    def _rows(self, normalised: NDArray[np.float32]) -> FloatArray:
        """Rows (T, 10) in SI units, the rotation made orthonormal and the opening kept to what the gripper has."""
        if not np.all(np.isfinite(normalised)):
            raise InferenceError("the policy predicted NaN or infinity: no action was sent; check the observations' range and the bundle's report")
        rows = self.bundle.stats.action.denormalise(normalised)
        try:
            rows[:, ROT6D] = orthonormal_rot6d(rows[:, ROT6D])
        except ValueError as error:
            raise InferenceError(f"the policy predicted no rotation ({error}): no action was sent; check the bundle's report") from None
        rows[:, GRIPPER] = np.clip(gripper_to_width_m(rows[:, GRIPPER]), 0.0, GRIPPER_MAX_WIDTH_M)
        return rows
