"""Sampling an action chunk from a bundle's networks."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.actions import GRIPPER, GRIPPER_MAX_WIDTH_M, ROT6D, gripper_to_width_m
from cdp.bundle.reader import Bundle
from cdp.data.window import WindowArrays
from cdp.diffusion.sampler import sample
from cdp.geometry import FloatArray, matrix_to_rot6d, rot6d_to_matrix
from cdp.runtime.config import RuntimeConfig
from cdp.runtime.errors import InferenceError
from cdp.runtime.networks import load_network

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


class PolicyRuntime:
    """The policy of a bundle. Life cycle: construct, :meth:`warm_up`, then for each episode :meth:`reset` and :meth:`act` on every replanning tick.

    The same seed, bundle and windows give the same chunks. Not thread-safe. Raises :class:`InferenceError` where the backend cannot run it.
    """

    def __init__(self, bundle: Bundle, config: RuntimeConfig | None = None) -> None:
        self.bundle = bundle
        self.config = config if config is not None else RuntimeConfig()
        policy, observation = bundle.policy, bundle.policy.observation
        self.steps = self.config.steps if self.config.steps is not None else policy.steps
        self.solver = self.config.solver if self.config.solver is not None else policy.solver
        size = observation.image_size
        self._image_shape = (observation.window, size, size, 3)
        self._lowdim_shape = (observation.window, observation.lowdim_width)
        self._chunk_shape = (1, policy.horizon, policy.action_width)
        self._encoder = load_network(
            bundle.encoder_path, {"image": (1, observation.window, 3, size, size), "lowdim": (1, *self._lowdim_shape)}, self.config
        )
        condition_width = self._encode(self._blank()).shape[-1]
        self._denoiser = load_network(bundle.denoiser_path, {"x": self._chunk_shape, "t": (1,), "cond": (1, condition_width)}, self.config)
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode: the noise starts anew from ``seed``, or from the configured one."""
        self._noise = np.random.default_rng(self.config.seed if seed is None else seed)

    def warm_up(self) -> float:
        """Run a few blank chunks, so that the first real one is not slow, and return the time of the last [ms]. The noise is left as it was."""
        blank = self._blank()
        noise = np.zeros(self._chunk_shape, dtype=np.float32)
        elapsed = 0.0
        for _ in range(_WARM_UP_CHUNKS):
            start = perf_counter()
            self._sample(self._encode(blank), noise)
            elapsed = perf_counter() - start
        return 1e3 * elapsed

    def act(self, window: WindowArrays) -> ActionPrediction:
        """The chunk for one window: image (To, S, S, 3) uint8, lowdim (To, P) float32 normalised.

        Raises ValueError for other shapes, :class:`InferenceError` where the networks give no action (NaN, or a rotation that is none).
        """
        if window["image"].shape != self._image_shape or window["image"].dtype != np.uint8 or window["lowdim"].shape != self._lowdim_shape:
            raise ValueError(
                f"a window is image {self._image_shape} uint8 and lowdim {self._lowdim_shape}, "
                f"not {window['image'].shape} {window['image'].dtype} and {window['lowdim'].shape}"
            )
        start = perf_counter()
        condition = self._encode(window)
        encoded = perf_counter()
        normalised = self._sample(condition, self._initial_noise())[0]
        sampled = perf_counter()
        return ActionPrediction(self._rows(normalised), normalised, 1e3 * (encoded - start), 1e3 * (sampled - encoded))

    def _blank(self) -> WindowArrays:
        return {"image": np.zeros(self._image_shape, dtype=np.uint8), "lowdim": np.zeros(self._lowdim_shape, dtype=np.float32)}

    def _initial_noise(self) -> NDArray[np.float32]:
        if self.config.initial_noise == "zero":
            return np.zeros(self._chunk_shape, dtype=np.float32)
        return np.float32(self.config.temperature) * self._noise.standard_normal(self._chunk_shape, dtype=np.float32)

    def _encode(self, window: WindowArrays) -> NDArray[np.float32]:
        image = np.ascontiguousarray(window["image"].transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255.0)
        return self._encoder({"image": image[None], "lowdim": np.ascontiguousarray(window["lowdim"], dtype=np.float32)[None]})

    def _sample(self, condition: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
        def denoise(x: Any, t: Any) -> Any:
            return self._denoiser({"x": x, "t": t, "cond": condition})

        chunk = sample(denoise, noise, self.steps, self.solver, self.bundle.policy.schedule)
        return np.asarray(chunk, dtype=np.float32)

    def _rows(self, normalised: NDArray[np.float32]) -> FloatArray:
        """Rows (T, 10) in SI units, the rotation made orthonormal and the opening kept to what the gripper has."""
        if not np.all(np.isfinite(normalised)):
            raise InferenceError("the policy predicted NaN or infinity: no action was sent; check the observations' range and the bundle's report")
        rows = self.bundle.stats.action.denormalise(normalised)
        try:
            rows[:, ROT6D] = matrix_to_rot6d(rot6d_to_matrix(rows[:, ROT6D]))
        except ValueError as error:
            raise InferenceError(f"the policy predicted no rotation ({error}): no action was sent; check the bundle's report") from None
        rows[:, GRIPPER] = np.clip(gripper_to_width_m(rows[:, GRIPPER]), 0.0, GRIPPER_MAX_WIDTH_M)
        return rows
