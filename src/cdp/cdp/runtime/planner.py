"""From one window to the chunk that the arm gets: sampling, and the join to the chunks before it. Runs where the networks run, in one thread."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from cdp.data.window import WindowArrays
from cdp.geometry import FloatArray
from cdp.runtime.config import ENSEMBLE, RTC, JoinConfig
from cdp.runtime.errors import InferenceError
from cdp.runtime.joins import TimedChunk, ensemble, frozen_rows, soft_mask
from cdp.runtime.policy import ActionPrediction, Given, Overlap, PolicyRuntime

_KEPT_CHUNKS = 64


@dataclass(frozen=True)
class Job:
    """One window to plan from. A job of another ``episode`` than the last begins anew: noise from its seed, no earlier chunk."""

    episode: int
    stamp_ns: int
    window: WindowArrays
    delay_ns: int
    """From the window's stamp to the chunk, as it is expected."""
    fresh: bool = False
    """Whether no earlier chunk is being followed, so that there is nothing to go on from."""
    seed: int | None = None
    """Of the noise of this episode; None: the configured one."""


class Planner:
    """The runtime and what it has planned in this episode. ``join`` may be set from another thread; it counts from the next chunk on."""

    def __init__(self, runtime: PolicyRuntime, join: JoinConfig | None = None) -> None:
        self.runtime = runtime
        self.join = join if join is not None else JoinConfig()
        self._period_ns = runtime.bundle.policy.observation.period_ns
        self._episode: int | None = None
        self._chunks: deque[TimedChunk] = deque(maxlen=_KEPT_CHUNKS)

    def plan(self, job: Job) -> ActionPrediction:
        """The chunk of ``job``, whose row 0 is for one period after the window's stamp. Raises as :meth:`PolicyRuntime.act` does."""
        join = self.join
        if job.episode != self._episode:
            self._episode = job.episode
            self._chunks.clear()
            self.runtime.reset(job.seed)
        if job.fresh:
            self._chunks.clear()
        start_ns, count = job.stamp_ns + self._period_ns, self.runtime.bundle.policy.horizon
        overlap = self._chunks[-1].overlap(start_ns, count) if self._chunks else None
        given = self._given(join, overlap, job.delay_ns, count) if join.join == RTC and overlap is not None else None
        prediction = self.runtime.act(job.window, overlap, given)
        chunk = TimedChunk(start_ns, self._period_ns, prediction.rows, prediction.normalised)
        if join.join == ENSEMBLE and self._chunks:
            prediction = replace(prediction, rows=self._mean(join, chunk))
        while self._chunks and not self._chunks[0].reach(start_ns, count).any():
            self._chunks.popleft()
        self._chunks.append(chunk)
        return prediction

    def _given(self, join: JoinConfig, overlap: Overlap, delay_ns: int, count: int) -> Given:
        delay_ns = delay_ns if join.delay_s is None else round(join.delay_s * 1e9)
        mask = soft_mask(count, overlap.rows, frozen_rows(delay_ns, self._period_ns))
        return Given(overlap.values, mask, join.products)

    def _mean(self, join: JoinConfig, chunk: TimedChunk) -> FloatArray:
        try:
            return ensemble(chunk, self._chunks, join.decay_per_s)
        except ValueError as error:
            raise InferenceError(f"the mean of the chunks is no rotation ({error}): no action was sent; set the join to hard") from None
