"""Time alignment, by header stamps alone: which images are observation ticks, and which sample belongs to one.

Nothing here looks at when a message arrived, so the live window and the recorded episode choose alike.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cdp.data.spec import ObservationSpec


def latest_at_or_before(stamps_ns: Sequence[int] | NDArray[np.int64], t_ns: int, tolerance_ns: int) -> int | None:
    """Index of the newest of the ascending stamps (N,) that is at or before ``t_ns`` by at most ``tolerance_ns``; None where there is none.

    Of equal stamps the last one counts.
    """
    index = bisect_right(stamps_ns, t_ns) - 1
    if index < 0 or t_ns - int(stamps_ns[index]) > tolerance_ns:
        return None
    return index


class TickSelector:
    """Says which images are observation ticks: the first, then each stamped at least a period less half a frame after the last tick."""

    def __init__(self, spec: ObservationSpec) -> None:
        self._spacing_ns = spec.period_ns - spec.half_frame_ns
        self._last_ns: int | None = None

    def is_tick(self, stamp_ns: int) -> bool:
        """Whether an image with this stamp would be the next tick."""
        return self._last_ns is None or stamp_ns - self._last_ns >= self._spacing_ns

    def offer(self, stamp_ns: int) -> bool:
        """As :meth:`is_tick`, and a tick counts as the last one from now on."""
        if not self.is_tick(stamp_ns):
            return False
        self._last_ns = stamp_ns
        return True

    def clear(self) -> None:
        """Take the next image as the first one."""
        self._last_ns = None


def select_ticks(stamps_ns: Iterable[int], spec: ObservationSpec) -> NDArray[np.int64]:
    """Indices (K,) of the images that are ticks, of ascending image stamps (N,)."""
    selector = TickSelector(spec)
    return np.asarray([i for i, stamp in enumerate(stamps_ns) if selector.offer(int(stamp))], dtype=np.int64)
