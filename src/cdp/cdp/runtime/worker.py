"""Where planning runs: in the caller's own thread, or in one beside it that the newest job gets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from cdp.runtime.planner import Job
from cdp.runtime.policy import ActionPrediction

Plan = Callable[[Job], ActionPrediction]


@dataclass(frozen=True)
class Outcome:
    """A job and what came of it: a prediction, or the exception that planning raised."""

    job: Job
    prediction: ActionPrediction | None
    error: Exception | None = None


class Worker(Protocol):
    """What a session needs: jobs in, outcomes out, in the order of the jobs."""

    def submit(self, job: Job) -> Job | None:
        """Plan ``job``; the job that it takes the place of, which will have no outcome."""

    def spare(self, work: Callable[[], None]) -> None:
        """Do ``work``, which only makes later jobs quicker, in the time between jobs, or not at all."""

    def take(self, now_ns: int) -> list[Outcome]:
        """What has ended since the last call, by ``now_ns`` of the session's clock."""

    def drain(self) -> None:
        """Drop what waits, wait for what is under way, and drop every outcome."""

    def close(self) -> None:
        """Drain, and plan no more."""


class InlineWorker:
    """Plans within :meth:`submit`: the outcome is there when that returns."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ended: list[Outcome] = []

    def submit(self, job: Job) -> Job | None:
        """Plan ``job`` now."""
        self._ended.append(run(self._plan, job))
        return None

    def spare(self, work: Callable[[], None]) -> None:
        """Nothing: the caller would wait for it."""

    def take(self, now_ns: int) -> list[Outcome]:
        """What :meth:`submit` planned."""
        ended, self._ended = self._ended, []
        return ended

    def drain(self) -> None:
        """Drop every outcome."""
        self._ended = []

    def close(self) -> None:
        """As :meth:`drain`."""
        self.drain()


class ThreadWorker:
    """One thread that plans the newest job. A job that comes while it is busy waits, and takes the place of one that waits already.

    ``notify`` is called in that thread after each job, to fetch the outcome with :meth:`take`. With ``wait``, :meth:`submit` returns once the outcome
    is there: the same thread and the same order, but the caller stands still meanwhile, as simulated time does in lock-step.
    """

    def __init__(self, plan: Plan, notify: Callable[[], None] = lambda: None, *, wait: bool = False) -> None:
        self._plan, self._notify, self._wait = plan, notify, wait
        self._changed = threading.Condition()
        self._next: Job | None = None
        self._spare: Callable[[], None] | None = None
        self._busy = self._closed = False
        self._ended: list[Outcome] = []
        self._thread = threading.Thread(target=self._run, name="cdp-inference", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Job | None:
        """Plan ``job`` next; the waiting job that it takes the place of. Raises RuntimeError once closed."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the worker is closed")
            replaced, self._next = self._next, job
            self._changed.notify_all()
            if self._wait:
                self._changed.wait_for(lambda: self._next is None and not self._busy)
        return replaced

    def spare(self, work: Callable[[], None]) -> None:
        """Do ``work`` next, unless a job or newer ``work`` comes before; a job that comes while it is done waits for its end."""
        with self._changed:
            self._spare = None if self._closed else work
            self._changed.notify_all()

    def take(self, now_ns: int) -> list[Outcome]:
        """What has ended."""
        with self._changed:
            ended, self._ended = self._ended, []
        return ended

    def drain(self) -> None:
        """Drop the waiting job, wait for the one under way, and drop every outcome."""
        with self._changed:
            self._next = self._spare = None
            self._changed.wait_for(lambda: not self._busy)
            self._ended = []

    def close(self) -> None:
        """Wait for the job under way and end the thread."""
        with self._changed:
            self._closed, self._next, self._spare = True, None, None
            self._changed.notify_all()
        self._thread.join()
        self._ended = []

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next is not None or self._spare is not None)
                if self._closed:
                    return
                job, spare, self._busy = self._next, self._spare, True
                self._next = self._spare = None
            # The job knows by itself what a preparation could not do, and says so where it fails too.
            outcome = run(self._plan, job) if job is not None else None
            if outcome is None and spare is not None:
                with suppress(Exception):
                    spare()
            with self._changed:
                self._busy = False
                if outcome is not None:
                    self._ended.append(outcome)
                self._changed.notify_all()
                told = outcome is not None and not self._closed
            if told:
                self._notify()


def run(plan: Plan, job: Job) -> Outcome:
    """The outcome of ``job``. What planning raises is handed over, not lost in a thread."""
    try:
        return Outcome(job, plan(job))
    except Exception as error:  # noqa: BLE001
        return Outcome(job, None, error)
