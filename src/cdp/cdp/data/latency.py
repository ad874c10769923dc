"""Latencies in bounded memory: percentiles of any number of them from a histogram of equal ratios."""

from __future__ import annotations

import math

import numpy as np

_BINS_PER_DECADE = 20
_SMALLEST_S = 1e-6
_DECADES = 9


class Latencies:
    """Durations [s]. One thread adds. A percentile is the upper edge of its bin: at most 12 % too high."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS_PER_DECADE * _DECADES + 1, dtype=np.int64)
        self.longest_s = 0.0

    def add(self, duration_s: float, count: int = 1) -> None:
        """``count`` durations of the same length."""
        ratio = max(duration_s, _SMALLEST_S) / _SMALLEST_S
        self._counts[min(len(self._counts) - 1, math.ceil(math.log10(ratio) * _BINS_PER_DECADE))] += count
        self.longest_s = max(self.longest_s, duration_s)

    def percentile_s(self, percent: float) -> float:
        """At least ``percent`` of the durations were no longer [s]; 0 where there is none."""
        total = int(self._counts.sum())
        if not total:
            return 0.0
        index = int(np.searchsorted(np.cumsum(self._counts), math.ceil(total * percent / 100.0)))
        return float(min(self.longest_s, _SMALLEST_S * 10 ** (index / _BINS_PER_DECADE)))

    def summary_ms(self) -> dict[str, float]:
        """Median, 99th percentile and longest [ms]."""
        figures = {"p50": self.percentile_s(50), "p99": self.percentile_s(99), "max": self.longest_s}
        return {name: round(1e3 * value, 3) for name, value in figures.items()}
