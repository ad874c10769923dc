"""Figures that a report may quote: success rates with their interval, latencies with their percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z_95 = 1.959963984540054


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a success rate, 95 % by default (Wilson 1927).

    Unlike the normal approximation it stays inside [0, 1] and does not collapse at 0 or ``trials`` successes. Raises ValueError for counts
    that cannot be.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials cannot be")
    rate = successes / trials
    scale = 1.0 + z * z / trials
    centre = rate + z * z / (2 * trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # At the ends the exact bound is 0 or 1; rounding must not leave it a hair outside.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == trials else (centre + half) / scale
    return low, high


def percentiles(values: Sequence[float], at: Sequence[float] = (50, 99)) -> tuple[float, ...]:
    """Percentiles of ``values`` in their unit; NaN where there are none."""
    if not len(values):
        return tuple(math.nan for _ in at)
    return tuple(float(v) for v in np.percentile(np.asarray(values, dtype=np.float64), at))
