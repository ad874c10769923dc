"""What quicker forms of a network are tried on: what they give there has to be what the whole network gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.runtime.frames import IMAGE, LOWDIM
from cdp.runtime.networks import Ahead, Network, Shapes
from cdp.runtime.openvino_split import CONDITION, STATE, TIME
from cdp.runtime.sampled import COEFFICIENTS

_CONDITIONS = 2


def encoder_trial(frames: int, size: tuple[int, ...], lowdim: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """A window of ``frames`` random frames of ``size`` (H, W, 3), and ``lowdim`` (1, To, P).

    The first frame is dark: what an encoder takes from all frames together, their brightness for one, is not that of each.
    """
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (1, frames, *size), dtype=np.uint8)
    image[:, 0] //= 8
    return {IMAGE: image, LOWDIM: draw.random(lowdim, dtype=np.float32)}


class DenoiserTrial:
    """Trials of a denoiser of ``shapes``, a batch of one, in ``steps`` steps; ``alike``: how far outputs may differ, relative and absolute."""

    def __init__(self, shapes: Shapes, steps: int, alike: float) -> None:
        draw = np.random.default_rng(0)
        self._alike = alike
        self._times = np.linspace(0.95, 0.05, steps, dtype=np.float32)
        self._states = draw.standard_normal((steps, *shapes[STATE]), dtype=np.float32)
        self._conditions = draw.standard_normal((_CONDITIONS, *shapes[CONDITION]), dtype=np.float32)
        r = draw.uniform(0.2, 0.8, steps)
        extrapolation = draw.uniform(0.2, 0.5, steps) * draw.choice([-1.0, 1.0], steps)
        # As in every solver: the first step has nothing to extrapolate from.
        extrapolation[0] = 0.0
        self._coefficients = np.stack([r, 1.0 - r, extrapolation], axis=1).astype(np.float32)

    def evaluations(self, network: Network) -> NDArray[np.float32]:
        """Outputs (N, 1, T, D) at several states, times and conditions. Each is of a state that is given: a chunk would amplify rounding."""
        found = []
        for condition in self._conditions:
            if isinstance(network, Ahead):
                network.begin(self._times.tolist())
            for index in sorted({0, len(self._times) // 2, len(self._times) - 1}):
                found.append(network({STATE: self._states[index], TIME: self._times[index : index + 1], CONDITION: condition}))
        return np.stack(found)

    def same(self, found: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
        """Whether two results of a trial are the same but for rounding."""
        return np.allclose(found, expected, rtol=self._alike, atol=self._alike)

    def in_one_call(self, loop: Network) -> NDArray[np.float32]:
        """A chunk (1, T, D) by ``loop`` (:class:`cdp.runtime.sampled.SampledDenoiser`), its steps' coefficients random: every step shows in it."""
        return loop({STATE: self._states[0], TIME: self._times, CONDITION: self._conditions[0], COEFFICIENTS: self._coefficients})

    def step_by_step(self, once: Network) -> NDArray[np.float32]:
        """The same chunk (1, T, D) by ``once``, one step after the other."""
        state: NDArray[np.float32] = self._states[0]
        before = np.zeros_like(state)
        if isinstance(once, Ahead):
            once.begin(self._times.tolist())
        for index, (r, c, extrapolation) in enumerate(self._coefficients):
            clean = once({STATE: state, TIME: self._times[index : index + 1], CONDITION: self._conditions[0]})
            state = np.asarray(r * state + c * (clean + extrapolation * (clean - before)))
            before = clean
        return state
