"""Watches one recorded stream by its stamps: is it alive, what was lost, how fast and how late is it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

NS_PER_S = 1_000_000_000
# A gap of less than this many periods is jitter, a longer one holds lost messages.
_GAP_PERIODS = 1.5
# The newest rate is that of the last second, but of so many messages at least.
_FEWEST_FOR_A_RATE = 5
# The running mean of the time from stamp to arrival forgets within so much time, not so many messages: streams of unlike rates are compared.
_LAG_MEMORY_NS = 0.5 * NS_PER_S


@dataclass
class StreamMonitor:
    """Counts one stream. ``rate_hz`` None: the stream has no rate, so nothing of it can be missed."""

    rate_hz: float | None
    newest_ns: int | None = None
    first_ns: int | None = None
    last_ns: int | None = None
    received: int = 0
    dropped: int = 0
    repeated: int = 0
    longest_gap_ns: int = 0
    lag_ns: float | None = None
    refused: str = ""
    _recent: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._recent = deque(maxlen=max(_FEWEST_FOR_A_RATE, round(self.rate_hz or 0) + 1))

    def restart(self) -> None:
        """Count a new episode."""
        self.first_ns, self.last_ns, self.received, self.dropped, self.repeated, self.longest_gap_ns = None, None, 0, 0, 0, 0

    def see(self, stamp_ns: int, counting: bool, receive_ns: int | None = None) -> None:
        """A message with this stamp has arrived, at ``receive_ns``; ``counting`` while an episode is in progress."""
        if counting:
            self._count(stamp_ns)
        if receive_ns is not None:
            self._see_lag(stamp_ns, float(receive_ns - stamp_ns))
        self.newest_ns = stamp_ns
        self.refused = ""
        self._recent.append(stamp_ns)

    def _see_lag(self, stamp_ns: int, lag_ns: float) -> None:
        if self.lag_ns is None or self.newest_ns is None:
            self.lag_ns = lag_ns
        else:
            self.lag_ns += (1.0 - math.exp(-max(0, stamp_ns - self.newest_ns) / _LAG_MEMORY_NS)) * (lag_ns - self.lag_ns)

    def _count(self, stamp_ns: int) -> None:
        if self.rate_hz is not None and self.last_ns is not None:
            gap_ns = stamp_ns - self.last_ns
            periods = gap_ns * self.rate_hz / NS_PER_S
            if periods > _GAP_PERIODS:
                self.dropped += round(periods) - 1
            self.longest_gap_ns = max(self.longest_gap_ns, gap_ns)
            self.repeated += gap_ns == 0
        if self.first_ns is None:
            self.first_ns = stamp_ns
        self.last_ns = stamp_ns
        self.received += 1

    def refuse(self, reason: str) -> None:
        """A message has arrived that cannot be recorded; it counts as silence, with this reason."""
        self.refused = reason

    def silence(self, name: str, now_ns: int, silent_after_s: float) -> str | None:
        """Why the stream counts as silent at ``now_ns``, None where it is alive."""
        if self.refused:
            return f"{name}: {self.refused}"
        if self.newest_ns is None:
            return f"{name} has not been received"
        age_s = (now_ns - self.newest_ns) / NS_PER_S
        return f"{name} has been silent for {age_s:.1f} s" if age_s > silent_after_s else None

    def newest_rate_hz(self) -> float | None:
        """Rate of the last second by stamps; None before there are some messages."""
        if len(self._recent) < _FEWEST_FOR_A_RATE or self._recent[-1] <= self._recent[0]:
            return None
        return (len(self._recent) - 1) * NS_PER_S / (self._recent[-1] - self._recent[0])

    def mean_rate_hz(self) -> float | None:
        """Mean rate of the episode by stamps; None before the second message."""
        if self.first_ns is None or self.last_ns is None or self.last_ns <= self.first_ns:
            return None
        return (self.received - 1) * NS_PER_S / (self.last_ns - self.first_ns)

    def slow(self, name: str, min_fraction: float) -> str | None:
        """The verdict on an episode's rate: None where it was kept."""
        return self._slow(name, "came", self.mean_rate_hz(), min_fraction)

    def slow_now(self, name: str, min_fraction: float) -> str | None:
        """As :meth:`slow`, of the last second."""
        return self._slow(name, "comes", self.newest_rate_hz(), min_fraction)

    def _slow(self, name: str, verb: str, rate: float | None, min_fraction: float) -> str | None:
        if self.rate_hz is None or rate is None or rate >= min_fraction * self.rate_hz:
            return None
        return f"{name} {verb} at {rate:.1f} Hz instead of {self.rate_hz:g} Hz"


def out_of_sync(monitors: dict[str, StreamMonitor], tolerance_s: float) -> dict[str, str]:
    """Streams with a rate that arrive later after their stamps than the earliest of them does, by more than the tolerance, and what is to be said.

    Only differences count: what delays all streams alike is the recorder's own, and does not part an image from its joint angles.
    """
    lags = {name: m.lag_ns for name, m in monitors.items() if m.rate_hz is not None and m.lag_ns is not None}
    if len(lags) < 2:
        return {}
    first = min(lags, key=lambda name: lags[name])
    behind = {name: (lag - lags[first]) / NS_PER_S for name, lag in lags.items()}
    return {name: f"{name} is out of sync: {late:.3f} s behind {first}" for name, late in behind.items() if late > tolerance_s}
