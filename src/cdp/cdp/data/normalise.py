"""Normalisation of actions and low-dimensional observations to [-1, 1], per dimension, by the training set's smallest and greatest value."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray

# A dimension that spans less than this (a micrometre, a microradian) does not vary: its noise must not be blown up to [-1, 1].
SMALLEST_RANGE = 1e-6


class StatsError(ValueError):
    """Statistics that cannot be used; the message says what is wrong."""


@dataclass(frozen=True, eq=False)
class MinMax:
    """Smallest and greatest value per dimension, (D,) each, with the affine map of that box to [-1, 1].

    A dimension of (nearly) zero range maps to 0, and back to its constant. Values outside the range map outside [-1, 1]: nothing is clipped.
    """

    low: FloatArray
    high: FloatArray
    _centre: FloatArray = field(init=False, repr=False)
    _half: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        low, high = np.array(self.low, dtype=np.float64), np.array(self.high, dtype=np.float64)
        if low.ndim != 1 or low.shape != high.shape or not low.size:
            raise StatsError(f"the bounds of a range are two vectors of one length, not {low.shape} and {high.shape}")
        if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high)) and np.all(low <= high)):
            raise StatsError(f"the bounds of a range are finite and ordered, not {low.tolist()} and {high.tolist()}")
        centre, half = low + 0.5 * (high - low), 0.5 * (high - low)
        for name, value in (("low", low), ("high", high), ("_centre", centre), ("_half", np.where(high - low < SMALLEST_RANGE, 0.0, half))):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, rows: ArrayLike) -> MinMax:
        """The range of rows (N, D). Raises :class:`StatsError` where there is no row or a value that is not finite."""
        values = np.asarray(rows, dtype=np.float64)
        if values.ndim != 2 or not len(values):
            raise StatsError(f"a range needs rows (N, D) with N > 0, not {values.shape}")
        return cls(values.min(axis=0), values.max(axis=0))

    @property
    def width(self) -> int:
        """D."""
        return int(self.low.size)

    def normalise(self, values: ArrayLike) -> FloatArray:
        """Values (..., D) in their unit -> (..., D), [-1, 1] inside the range. Float64. Raises :class:`StatsError` for another D."""
        half, centre = self._map(np.shape(values))
        varies = half > 0
        return np.asarray(np.where(varies, (np.asarray(values, dtype=np.float64) - centre) / np.where(varies, half, 1.0), 0.0))

    def denormalise(self, values: ArrayLike) -> FloatArray:
        """Inverse of :meth:`normalise`: (..., D) -> (..., D) in their unit. Float64. Raises :class:`StatsError` for another D."""
        half, centre = self._map(np.shape(values))
        return np.asarray(np.asarray(values, dtype=np.float64) * half + centre)

    def _map(self, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
        if not shape or shape[-1] != self.width:
            raise StatsError(f"values have shape {shape}; these statistics are for (..., {self.width})")
        return self._half, self._centre


@dataclass(frozen=True, eq=False)
class Stats:
    """Ranges of the action rows (D) and of the low-dimensional observations (P) of a training set."""

    action: MinMax
    lowdim: MinMax

    def to_json(self) -> str:
        """JSON text; numbers keep every bit."""
        return json.dumps({name: {"min": r.low.tolist(), "max": r.high.tolist()} for name, r in (("action", self.action), ("lowdim", self.lowdim))})

    @classmethod
    def from_json(cls, text: str) -> Stats:
        """Inverse of :meth:`to_json`. Raises :class:`StatsError`."""
        try:
            data: Any = json.loads(text)
            action, lowdim = (
                MinMax(np.asarray(data[k]["min"], dtype=np.float64), np.asarray(data[k]["max"], dtype=np.float64)) for k in ("action", "lowdim")
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StatsError(f"these are no statistics: {error!r}") from None
        return cls(action, lowdim)

    def save(self, path: str | Path) -> None:
        """Write :meth:`to_json` to ``path``."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Stats:
        """Read a file of :meth:`save`. Raises :class:`StatsError`, its message led by the path."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, StatsError) as error:
            raise StatsError(f"{path}: {error}") from None
