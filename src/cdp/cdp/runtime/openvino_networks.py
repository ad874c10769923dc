"""Encoder and denoiser from their graphs, each in the quickest form that computes what the whole network does; that is tried when it is loaded.

A form that cannot be made, of a graph that is not like those of our networks, gives way to the next simpler one, as one does that computes something
else. Which it is, is said by :attr:`cdp.runtime.PolicyRuntime.form`, and why by the log of this module (level info).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cdp.runtime.frames import IMAGE, LOWDIM, FrameEncoder
from cdp.runtime.networks import Network, Shapes, first_line, of_pixels
from cdp.runtime.openvino_frames import FEATURES, split_encoder
from cdp.runtime.openvino_loop import sampling_loop
from cdp.runtime.openvino_norms import fuse_norms
from cdp.runtime.openvino_split import TIME, SplitDenoiser, split_denoiser
from cdp.runtime.openvino_trials import DenoiserTrial, encoder_trial
from cdp.runtime.sampled import COEFFICIENTS, SampledDenoiser

_LOG = logging.getLogger(__name__)

Compile = Callable[[Any], Any]
Shaped = TypeVar("Shaped")


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
    and absolute, the conditions (1, C) of both ways may differ. Raises RuntimeError where OpenVINO refuses the whole network.
    """
    whole = of_pixels(Request(compiled(model), shapes))

    def frame_by_frame() -> Network | None:
        parts = split_encoder(model)
        if parts is None:
            return None
        see, fuse = parts
        frame, features = tuple(see.inputs[0].get_shape()), fuse.input(FEATURES).get_shape()
        seer = Request(compiled(see), {IMAGE: frame})
        fuser = Request(compiled(fuse), {FEATURES: tuple(features), LOWDIM: shapes[LOWDIM]})
        frames = shapes[IMAGE][1]
        made = FrameEncoder(frames, lambda image: seer({IMAGE: image}), lambda seen, state: fuser({FEATURES: np.concatenate(seen), LOWDIM: state}))
        # A backbone of the user's own may do with its batch what ours does not.
        trial = encoder_trial(frames, frame[2:], shapes[LOWDIM])
        return made if np.allclose(made(trial), whole(trial), rtol=alike, atol=alike) else None

    return _tried("the encoder frame by frame", frame_by_frame) or whole


def open_denoiser(model: Any, shapes: Shapes, compiled: Compile, alike: float, steps: int | None, in_one_call: bool = True) -> Network:
    """The denoiser, with ``steps`` and ``in_one_call`` also as a sampler (:class:`SampledDenoiser`), in the quickest form that computes the same.

    ``shapes``: of the inputs, x (B, T, D), t (B,) and cond (B, C), B = 1 where ``steps`` is given. ``compiled`` compiles a model; ``alike``: by how
    much, relative and absolute, outputs and chunks may differ from the whole network's. Raises RuntimeError where OpenVINO refuses the whole network.
    """
    whole = Request(compiled(model), shapes)
    if steps is None:
        return whole
    trial = DenoiserTrial(shapes, steps, alike)
    expected = trial.evaluations(whole)

    def ahead(norms: bool) -> tuple[Any, Network] | None:
        graph = model.clone()
        if norms:
            fuse_norms(graph)
        parts = split_denoiser(graph)
        once: Network = Request(compiled(graph), shapes) if parts is None else SplitDenoiser(compiled(parts[0]), compiled(parts[1]), parts[2])
        return (graph, once) if trial.same(trial.evaluations(once), expected) else None

    def sampled(graph: Any, once: Network) -> Network | None:
        loop = Request(compiled(sampling_loop(graph, steps)), {**shapes, TIME: (steps,), COEFFICIENTS: (steps, 3)})
        return SampledDenoiser(once, loop, steps) if trial.same(trial.in_one_call(loop), trial.step_by_step(once)) else None

    fused = _tried("the denoiser with its norms put together", lambda: ahead(True))
    graph, once = fused or _tried("the denoiser in two parts", lambda: ahead(False)) or (model, whole)
    return (_tried("the sampler in one call", lambda: sampled(graph, once)) if in_one_call else None) or once


def _tried(form: str, make: Callable[[], Shaped | None]) -> Shaped | None:
    """What ``make`` makes; None, and the reason in the log, where it cannot or does not."""
    try:
        made = make()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong with a form, the network itself has been compiled, and works
        _LOG.info("%s cannot be made (%s: %s): a simpler form is used", form, type(error).__name__, first_line(error))
        return None
    if made is None:
        _LOG.info("%s does not compute what the whole network does, or has no place in its graph: a simpler form is used", form)
    return made
