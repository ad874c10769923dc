"""How a chunk continues the one before it: chunks in absolute time, and what a new one takes from them.

- ``hard``: nothing; the arm goes over to the new chunk as it is.
- ``ensemble``: each row is the weighted mean of what the chunks that reach it say, a chunk older by ``a`` seconds with weight ``exp(-decay a)``;
  rotations by the mean of their 6-D form, made orthonormal again. After the temporal ensembling of ACT (Zhao et al., arXiv 2304.13705), there over
  every time step and with more weight for the older. Where chunks choose different modes the mean is neither.
- ``rtc``: the chunk is sampled so that it agrees with the last one (:mod:`cdp.diffusion.inpaint`): rows that will have been headed for by the time it
  arrives are met exactly, later ones less and less (:func:`soft_mask`), and beyond the last chunk's end it is free. After real-time chunking (Black
  et al., arXiv 2506.07339).

Chunks are shifted by their time stamps, not by counts of rows: between rows they are interpolated, so that replanning need not be regular.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdp.actions import ROT6D
from cdp.geometry import FloatArray, matrix_to_rot6d, rot6d_to_matrix
from cdp.runtime.policy import Overlap

#: Where two chunks' rows are this close in time they are for the same time: stamps of a camera jitter.
_SAME_ROW = 1e-3


@dataclass(frozen=True)
class TimedChunk:
    """A chunk (T, D) in absolute time: ``rows`` as the arm gets them, ``normalised`` as they were sampled."""

    start_ns: int
    """The time that row 0 is for."""
    dt_ns: int
    rows: FloatArray
    normalised: NDArray[np.float32]

    def positions(self, start_ns: int, count: int) -> FloatArray:
        """Where the ``count`` times ``start_ns + i dt`` lie, in rows of this chunk (count,)."""
        return (start_ns - self.start_ns) / self.dt_ns + np.arange(count, dtype=np.float64)

    def reach(self, start_ns: int, count: int) -> NDArray[np.bool_]:
        """Which of those times (count,) this chunk has rows for."""
        at = self.positions(start_ns, count)
        return np.asarray((at >= -_SAME_ROW) & (at <= len(self.rows) - 1 + _SAME_ROW))

    def overlap(self, start_ns: int, count: int) -> Overlap | None:
        """What it says of those times, in normalised actions; None where it ends before them."""
        rows = int(self.reach(start_ns, count).sum())
        return Overlap(_at(self.normalised, self.positions(start_ns, count)).astype(np.float32), rows) if rows else None


def soft_mask(count: int, overlap: int, frozen: int) -> FloatArray:
    """Weights (count,) of the last chunk's rows in the next: 1 for the first ``frozen``, then falling, and 0 from row ``overlap`` on.

    Equation 5 of arXiv 2506.07339: between, ``c (e^c - 1) / (e - 1)`` with ``c = (overlap - i) / (overlap - frozen + 1)``.
    """
    i = np.arange(count, dtype=np.float64)
    frozen = min(frozen, overlap)
    c = (overlap - i) / (overlap - frozen + 1)
    falling = c * np.expm1(c) / math.expm1(1.0)
    return np.asarray(np.where(i < frozen, 1.0, np.where(i < overlap, falling, 0.0)))


def frozen_rows(delay_ns: int, dt_ns: int) -> int:
    """Rows that the arm has passed, or is heading for, when a chunk arrives ``delay_ns`` after its observation; row 0 is for one ``dt_ns`` after."""
    return max(0, math.ceil(delay_ns / dt_ns))


def ensemble(newest: TimedChunk, earlier: Sequence[TimedChunk], decay_per_s: float) -> FloatArray:
    """Rows (T, 10) of ``newest``, each the weighted mean with those of the ``earlier`` chunks that reach it; see the module.

    Raises ValueError where rotations cancel out.
    """
    count = len(newest.rows)
    total, weight = newest.rows.copy(), np.ones((count, 1))
    for chunk in earlier:
        share = math.exp(-decay_per_s * (newest.start_ns - chunk.start_ns) / 1e9) * chunk.reach(newest.start_ns, count)[:, None]
        total += share * _at(chunk.rows, chunk.positions(newest.start_ns, count))
        weight += share
    mean = total / weight
    mean[:, ROT6D] = matrix_to_rot6d(rot6d_to_matrix(mean[:, ROT6D]))
    return mean


def _at(rows: NDArray[np.floating], positions: FloatArray) -> FloatArray:
    """Rows (T, D) interpolated at fractional indices (N,); before the first and after the last, those."""
    at = np.clip(positions, 0.0, len(rows) - 1)
    # A time that is a row's own but for jitter takes that row, bit for bit.
    at = np.where(np.abs(at - np.round(at)) < _SAME_ROW, np.round(at), at)
    low = np.minimum(at.astype(int), len(rows) - 1)
    high = np.minimum(low + 1, len(rows) - 1)
    share = (at - low)[:, None]
    return np.asarray((1.0 - share) * rows[low] + share * rows[high], dtype=np.float64)
