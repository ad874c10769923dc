"""Watches one recorded stream by its stamps: is it alive, what was lost, how fast is it."""

from __future__ import annotations

from dataclasses import dataclass

NS_PER_S = 1_000_000_000
# A gap of less than this many periods is jitter, a longer one holds lost messages.
_GAP_PERIODS = 1.5


@dataclass
class StreamMonitor:
    """Counts one stream. ``rate_hz`` None: the stream has no rate, so nothing of it can be missed."""

    rate_hz: float | None
    newest_ns: int | None = None
    first_ns: int | None = None
    last_ns: int | None = None
    received: int = 0
    dropped: int = 0
    refused: str = ""

    def restart(self) -> None:
        """Count a new episode."""
        self.first_ns, self.last_ns, self.received, self.dropped = None, None, 0, 0

    def see(self, stamp_ns: int, counting: bool) -> None:
        """A message with this stamp has arrived; ``counting`` while an episode is in progress."""
        if counting:
            self._count(stamp_ns)
        self.newest_ns = stamp_ns
        self.refused = ""

    def _count(self, stamp_ns: int) -> None:
        if self.rate_hz is not None and self.last_ns is not None:
            periods = (stamp_ns - self.last_ns) * self.rate_hz / NS_PER_S
            if periods > _GAP_PERIODS:
                self.dropped += round(periods) - 1
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

    def mean_rate_hz(self) -> float | None:
        """Mean rate of the episode by stamps; None before the second message."""
        if self.first_ns is None or self.last_ns is None or self.last_ns <= self.first_ns:
            return None
        return (self.received - 1) * NS_PER_S / (self.last_ns - self.first_ns)

    def slow(self, name: str, min_fraction: float) -> str | None:
        """The verdict on an episode's rate: None where it was kept."""
        rate = self.mean_rate_hz()
        if self.rate_hz is None or rate is None or rate >= min_fraction * self.rate_hz:
            return None
        return f"{name} came at {rate:.1f} Hz instead of {self.rate_hz:g} Hz"
