"""The two networks of a bundle behind one call each. Threads are few and never spin: the robot's driver shares the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cdp.bundle.reader import Bundle
from cdp.runtime.config import RuntimeConfig
from cdp.runtime.frames import IMAGE

Network = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]
"""Inputs by name -> the only output, an array of its own. Float32, but for the encoder's ``image``: pixels (1, To, H, W, 3) uint8."""

Part = Literal["encoder", "denoiser"]
Shapes = Mapping[str, tuple[int, ...]]
Load = Callable[[Part, Shapes], Network]


@runtime_checkable
class Ahead(Protocol):
    """A denoiser that computes what depends on time and condition alone ahead, for all times of a chunk at once."""

    def begin(self, times: Sequence[float]) -> None:
        """Tell the times at which the next chunk will be evaluated. A chunk's rounding depends on them, and not on the chunks before."""


_INSTALL = "install it (pip install {0}) or set the backend to {1}"


@dataclass(frozen=True)
class Engine:
    """What runs the networks of one bundle. ``load(part, shapes)`` gives a network for inputs that the exported one sees in exactly ``shapes``."""

    load: Load
    provider: str
    """The device in use."""
    precision: str
    """The precision in use: what ``auto`` came to."""


def open_engine(bundle: Bundle, config: RuntimeConfig) -> Engine:
    """The engine that ``config`` names; no other backend is imported.

    Raises :class:`cdp.runtime.InferenceError`, here or in ``load``, where the backend is absent or refuses a network.
    """
    return cast(Engine, import_module(f"cdp.runtime.engine_{config.backend}").open_engine(bundle, config))


def of_pixels(network: Network) -> Network:
    """An encoder of ``image`` (1, To, H, W, 3) uint8, by one that takes it as (1, To, 3, H, W) float32 in [0, 1]."""

    def run(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        image = np.ascontiguousarray(inputs[IMAGE].transpose(0, 1, 4, 2, 3), dtype=np.float32)
        image /= np.float32(255.0)
        return network({**inputs, IMAGE: image})

    return run


def absent(backend: str, other: str, error: ImportError) -> str:
    """The line that says that ``backend`` is not installed."""
    return f"backend {backend} cannot be loaded ({error}); {_INSTALL.format(backend, other)}"


def first_line(error: Exception) -> str:
    """What an error says first."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
