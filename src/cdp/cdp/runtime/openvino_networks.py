"""Encoder and denoiser from their graphs, each in the quickest form that computes what the whole network does; that is tried when it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.diffusion.sampler import sample
from cdp.diffusion.schedule import Schedule
from cdp.runtime.frames import IMAGE, LOWDIM, FrameEncoder
from cdp.runtime.networks import Network, of_pixels
from cdp.runtime.openvino_frames import FEATURES, split_encoder
from cdp.runtime.openvino_loop import sampling_loop
from cdp.runtime.openvino_norms import fuse_norms
from cdp.runtime.openvino_split import CONDITION, STATE, TIME, SplitDenoiser, split_denoiser
from cdp.runtime.sampled import COEFFICIENTS, SampledDenoiser

# Of a trial: the one that uses all coefficients of a step.
_SOLVER = "dpmpp_2m"

Compile = Callable[[Any], Any]
Shapes = Mapping[str, tuple[int, ...]]


class Request:
    """A compiled network of one output, called with arrays of exactly the ``shapes`` of its inputs. Not thread-safe."""

    def __init__(self, compiled: Any, shapes: Shapes) -> None:
        self._request = compiled.create_infer_request()
        # Filled in place: handing arrays to each call costs a fifth of a small network's time in Python.
        self._tensors = {name: self._request.get_tensor(name).data for name in shapes}
        self._output = self._request.get_output_tensor().data

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """The output, an array of its own. Raises ValueError for an input of another shape."""
        for name, value in inputs.items():
            if value.shape != self._tensors[name].shape:
                raise ValueError(f"{name}: shape {value.shape}, not {self._tensors[name].shape}")
            self._tensors[name][...] = value
        self._request.infer(share_outputs=True)
        return np.array(self._output, dtype=np.float32)


def open_encoder(model: Any, shapes: Shapes, compiled: Compile, alike: float) -> Network:
    """The encoder frame by frame where that computes the same, else as it is.

    ``shapes``: of the graph's inputs, image (1, To, 3, H, W) and lowdim (1, To, P). ``compiled`` compiles a model; ``alike``: by how much, relative
    and absolute, the conditions (1, C) of both ways may differ.
    """
    whole = of_pixels(Request(compiled(model), shapes))
    parts = split_encoder(model)
    if parts is None:
        return whole
    see, fuse = parts
    frame, features = tuple(see.inputs[0].get_shape()), fuse.input(FEATURES).get_shape()
    seer = Request(compiled(see), {IMAGE: frame})
    fuser = Request(compiled(fuse), {FEATURES: tuple(features), LOWDIM: shapes[LOWDIM]})
    frames = shapes[IMAGE][1]
    made = FrameEncoder(frames, lambda image: seer({IMAGE: image}), lambda seen, lowdim: fuser({FEATURES: np.concatenate(seen), LOWDIM: lowdim}))
    # A backbone of the user's own may do with its batch what ours does not.
    draw = np.random.default_rng(0)
    trial: dict[str, NDArray[Any]] = {
        IMAGE: draw.integers(0, 256, (1, frames, *frame[2:]), dtype=np.uint8),
        LOWDIM: draw.random(shapes[LOWDIM], dtype=np.float32),
    }
    return made if np.allclose(made(trial), whole(trial), rtol=alike, atol=alike) else whole


def open_denoiser(model: Any, shapes: Shapes, compiled: Compile, alike: float, steps: int | None) -> Network:
    """The denoiser, with ``steps`` also as a sampler of so many steps (:class:`SampledDenoiser`), as far as that computes the same.

    ``shapes``: of the inputs, x (B, T, D), t (B,) and cond (B, C), B = 1 where ``steps`` is given. ``compiled`` compiles a model; ``alike``: by how
    much, relative and absolute, outputs and chunks may differ from the whole network's.
    """
    whole = Request(compiled(model), shapes)
    if steps is None:
        return whole
    draw = np.random.default_rng(0)
    noise, condition = (draw.standard_normal(shapes[name], dtype=np.float32) for name in (STATE, CONDITION))
    path = Schedule()

    def chunk(network: Network) -> NDArray[np.float32]:
        def denoise(x: Any, t: Any) -> Any:
            return network({STATE: x, TIME: t, CONDITION: condition})

        return np.asarray(sample(denoise, noise, steps, _SOLVER, path))

    expected = chunk(whole)
    fused = model.clone()
    fuse_norms(fused)
    for graph in (fused, model):
        parts = split_denoiser(graph)
        once: Network = Request(compiled(graph), shapes) if parts is None else SplitDenoiser(compiled(parts[0]), compiled(parts[1]), parts[2])
        if np.allclose(chunk(once), expected, rtol=alike, atol=alike):
            loop = Request(compiled(sampling_loop(graph, steps)), {**shapes, TIME: (steps,), COEFFICIENTS: (steps, 3)})
            made = SampledDenoiser(once, loop, steps)
            return made if np.allclose(made.sample(noise, condition, _SOLVER, path), expected, rtol=alike, atol=alike) else once
    return whole
