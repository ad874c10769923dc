"""The last seconds before an episode, in a ring of bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

_BYTES_PER_MB = 1_000_000
# What a sample costs beside its arrays.
_OVERHEAD_BYTES = 500

Sample = tuple[str, int, int, Mapping[str, Any]]


class PreRoll:
    """Keeps the samples (stream, header stamp, receive stamp, values) received within ``span_ns``, in at most ``most_mb``; none for a span of 0."""

    def __init__(self, span_ns: int, most_mb: int) -> None:
        self._span_ns, self._most_bytes = span_ns, most_mb * _BYTES_PER_MB
        self._samples: deque[tuple[Sample, int]] = deque()
        self._bytes = 0

    def add(self, sample: Sample) -> None:
        """Keep a sample, and forget those that it makes too old or too many."""
        if not self._span_ns:
            return
        size = _OVERHEAD_BYTES + sum(len(v) if isinstance(v, bytes) else getattr(v, "nbytes", 0) for v in sample[3].values())
        self._samples.append((sample, size))
        self._bytes += size
        while self._bytes > self._most_bytes or sample[2] - self._samples[0][0][2] > self._span_ns:
            self._bytes -= self._samples.popleft()[1]

    def take(self, now_ns: int) -> list[Sample]:
        """What was received within the span before ``now_ns``, oldest first; the ring is empty afterwards."""
        samples = [sample for sample, _ in self._samples if now_ns - sample[2] <= self._span_ns]
        self._samples.clear()
        self._bytes = 0
        return samples
