"""The observation window of a running policy, built from messages as they come.

One rule, held to the data set by a parity test: an image that is a tick (:class:`cdp.data.align.TickSelector`) becomes a row once every
proprioceptive stream that the policy uses has a sample stamped at or after the image; its sample is then the newest at or before the image, within
the tolerance. So the choice depends on stamps alone and not on what arrived first. A tick that is still waiting when the next one comes is given up,
and the window starts anew: a silent stream stops the policy, it never feeds it an old sample.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdp.data.align import TickSelector, latest_at_or_before
from cdp.data.normalise import Stats, StatsError
from cdp.data.preprocess import Image, ObservationError, check_sample, lowdim_rows, proprioception, resize_image
from cdp.data.spec import NS_PER_S, STREAM_WIDTHS, ObservationSpec
from cdp.geometry import FloatArray

# Samples older than this behind the newest of their stream serve no tick any more; a stamp that far back means that the clock was reset.
_KEPT_NS = 2 * NS_PER_S
_MAX_SAMPLES = 4096


class _Stream:
    """The newest samples of one stream, ascending by stamp."""

    def __init__(self) -> None:
        self.stamps_ns: list[int] = []
        self.values: list[FloatArray] = []

    def add(self, stamp_ns: int, value: FloatArray) -> None:
        index = bisect_right(self.stamps_ns, stamp_ns)
        self.stamps_ns.insert(index, stamp_ns)
        self.values.insert(index, value)
        # Trimmed in halves, so that a fast stream does not pay for it with every sample.
        expired = bisect_right(self.stamps_ns, self.stamps_ns[-1] - _KEPT_NS)
        if expired > len(self.stamps_ns) // 2 or len(self.stamps_ns) > _MAX_SAMPLES:
            cut = max(expired, len(self.stamps_ns) - _MAX_SAMPLES // 2)
            del self.stamps_ns[:cut], self.values[:cut]

    @property
    def newest_ns(self) -> int | None:
        return self.stamps_ns[-1] if self.stamps_ns else None


@dataclass(frozen=True)
class _Row:
    stamp_ns: int
    image: Image
    lowdim: NDArray[np.float32]


class WindowArrays(TypedDict):
    """One observation window: image (To, S, S, 3) uint8, lowdim (To, P) float32 normalised."""

    image: NDArray[np.uint8]
    lowdim: NDArray[np.float32]


class ObservationWindow:
    """The last To observations of a running policy. Not thread-safe: feed it from one executor thread.

    Feed every image to :meth:`add_image` and every sample to :meth:`add`; where either returns True, :meth:`get` is a new window. At the start,
    and after a hole of more than 1.5 periods, the first observation is repeated, as in the data set.
    """

    def __init__(self, spec: ObservationSpec, stats: Stats) -> None:
        if stats.lowdim.width != spec.lowdim_width:
            raise StatsError(f"the statistics are for {stats.lowdim.width} low-dimensional numbers, the observation has {spec.lowdim_width}")
        self._spec, self._stats = spec, stats
        self._selector = TickSelector(spec)
        self._streams: dict[str, _Stream] = {}
        self._rows: deque[_Row] = deque(maxlen=spec.window)
        self.clear()

    def clear(self) -> None:
        """Forget everything: the next image is the first of an episode."""
        self._selector.clear()
        self._streams = {name: _Stream() for name in self._spec.streams}
        self._rows.clear()
        self._pending: tuple[int, Image] | None = None
        self._newest_image_ns: int | None = None
        self._hole = ""

    @property
    def stamp_ns(self) -> int | None:
        """Stamp of the newest complete observation, None where there is none."""
        return self._rows[-1].stamp_ns if self._rows else None

    @property
    def pending_ns(self) -> int | None:
        """Stamp of the tick that waits for proprioception, None where none does."""
        return self._pending[0] if self._pending else None

    def add(self, stream: str, stamp_ns: int, value: ArrayLike) -> bool:
        """Take a sample of ``joint_pos`` (7,) [rad], ``eef_pose`` (7,: x y z [m], qx qy qz qw) or ``gripper_width`` (1,) [m].

        True where the tick that waited for it is now complete. Samples of streams that the policy does not use are ignored. Raises
        :class:`ObservationError` for an unknown stream or a sample that is not one (wrong width, NaN); it is not taken.
        """
        if stream not in STREAM_WIDTHS:
            raise ObservationError(f"{stream!r} is no stream; use one of {', '.join(STREAM_WIDTHS)}")
        buffer = self._streams.get(stream)
        if buffer is None:
            return False
        sample = check_sample(stream, value)
        if buffer.newest_ns is not None and stamp_ns < buffer.newest_ns - _KEPT_NS:
            self.clear()
            buffer = self._streams[stream]
        buffer.add(stamp_ns, sample)
        return self._complete()

    def add_image(self, stamp_ns: int, rgb: Image) -> bool:
        """Take a camera image (H, W, 3) uint8 RGB. True where it is a tick and its window is complete at once.

        An image that is not newer than the last is ignored. Raises :class:`ObservationError` for another shape; it is not taken.
        """
        newest = self._newest_image_ns
        if newest is not None and stamp_ns <= newest:
            if stamp_ns > newest - _KEPT_NS:
                return False
            self.clear()
        if not self._selector.is_tick(stamp_ns):
            self._newest_image_ns = stamp_ns
            return False
        image = resize_image(rgb, self._spec.image_size)
        self._newest_image_ns = stamp_ns
        self._selector.offer(stamp_ns)
        if self._pending is not None:
            self._give_up(f"{', '.join(self._behind(self._pending[0]))} came too late for the image")
        self._pending = (stamp_ns, image)
        return self._complete()

    def get(self) -> WindowArrays:
        """The newest window, oldest row first. Raises :class:`ObservationError` where there is none."""
        if not self._rows:
            raise ObservationError("the observation window is empty")
        rows = list(self._rows)
        rows = [rows[0]] * (self._spec.window - len(rows)) + rows
        return {"image": np.stack([r.image for r in rows]), "lowdim": np.stack([r.lowdim for r in rows])}

    def missing(self, now_ns: int) -> str | None:
        """Why there is no current window at ``now_ns`` (the node's clock), None where there is one."""
        newest = {self._spec.image_key: self._newest_image_ns, **{name: s.newest_ns for name, s in self._streams.items()}}
        for name, stamp_ns in newest.items():
            if stamp_ns is None:
                return f"no {name} yet"
            age_s = (now_ns - stamp_ns) / NS_PER_S
            if age_s > self._spec.stale_after_s:
                return f"the newest {name} is {age_s:.2f} s old, more than {self._spec.stale_after_s} s"
        if self._rows:
            return None
        return self._hole or "waiting for the first complete observation"

    def _behind(self, t_ns: int) -> list[str]:
        return [name for name, s in self._streams.items() if s.newest_ns is None or s.newest_ns < t_ns]

    def _give_up(self, reason: str) -> None:
        self._pending = None
        self._rows.clear()
        self._hole = reason

    def _complete(self) -> bool:
        if self._pending is None or self._behind(self._pending[0]):
            return False
        t_ns, image = self._pending
        samples: dict[str, FloatArray] = {}
        for name, stream in self._streams.items():
            index = latest_at_or_before(stream.stamps_ns, t_ns, self._spec.tolerance_ns)
            if index is None:
                self._give_up(f"no {name} within {self._spec.proprio_tolerance_s} s before the image")
                return False
            samples[name] = stream.values[index]
        lowdim = self._stats.lowdim.normalise(lowdim_rows(proprioception(samples), self._spec.lowdim_keys))
        if self._rows and t_ns - self._rows[-1].stamp_ns > self._spec.max_gap_ns:
            self._rows.clear()
        self._rows.append(_Row(t_ns, image, lowdim.astype(np.float32)))
        self._pending, self._hole = None, ""
        return True
