"""One resampler for every stream: which sample of a stream belongs to each tick. By header stamps alone, and never a sample that is not there."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

HOLD: Final = "hold"
NEAREST: Final = "nearest"
How: TypeAlias = Literal["hold", "nearest"]
#: Stands for a tick without a sample.
NONE = -1
_FAR = np.iinfo(np.int64).max
_NS_PER_S = 1_000_000_000


def half_period_ns(rate_hz: float) -> int:
    """Half a period [ns]: the right sample of a stream of this rate is that near to any tick, and where it was lost its neighbour is not."""
    return round(_NS_PER_S / (2 * rate_hz))


def resample(stamps_ns: NDArray[np.int64], ticks_ns: NDArray[np.int64], tolerance_ns: int, how: How = HOLD) -> NDArray[np.int64]:
    """Indices (K,) into ``stamps_ns`` (N,), which may be in any order, of the sample for each of the ticks (K,); ``NONE`` where none is near enough.

    ``hold`` takes the newest sample at or before a tick, ``nearest`` the one with the least time to it, the earlier of two as near; each within
    ``tolerance_ns``. Of samples with equal stamps the last to arrive counts.
    """
    ticks = np.asarray(ticks_ns, dtype=np.int64)
    order = np.argsort(stamps_ns, kind="stable")
    stamps = np.asarray(stamps_ns, dtype=np.int64)[order]
    if not len(stamps):
        return np.full(len(ticks), NONE, dtype=np.int64)
    before = np.searchsorted(stamps, ticks, side="right") - 1
    # A clipped index stands for an absent sample; its distance is put out of reach.
    distance = np.where(before >= 0, ticks - stamps[np.maximum(before, 0)], _FAR)
    chosen = before
    if how == NEAREST:
        following = before + 1
        there = following < len(stamps)
        last_of_equal = np.searchsorted(stamps, stamps[np.minimum(following, len(stamps) - 1)], side="right") - 1
        ahead = np.where(there, stamps[np.minimum(following, len(stamps) - 1)] - ticks, _FAR)
        chosen = np.where(ahead < distance, last_of_equal, before)
        distance = np.minimum(distance, ahead)
    return np.where(distance <= tolerance_ns, order[np.maximum(chosen, 0)], NONE)
