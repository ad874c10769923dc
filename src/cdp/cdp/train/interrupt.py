"""Ending a training where it can be ended: between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(KeyboardInterrupt):
    """A training was asked to end; the message says what was kept and how to go on."""

    @classmethod
    def after(cls, done: int, steps: int, checkpoints: Path) -> TrainingInterrupted:
        """The end after ``done`` of ``steps`` steps, with a checkpoint in ``checkpoints``."""
        return cls(f"stopped after step {done} of {steps}, which is kept in {checkpoints}; go on with --resume")


@contextmanager
def stop_between_steps() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM set the event instead of breaking a step in two; the second one has its usual effect, for a step that does not end.

    Elsewhere than in the main thread, where signals cannot be taken, the event is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    usual = {signum: signal.getsignal(signum) for signum in SIGNALS}

    def restore() -> None:
        for signum, handler in usual.items():
            signal.signal(signum, handler)

    def ask(_signum: int, _frame: FrameType | None) -> None:
        stop.set()
        restore()

    for signum in SIGNALS:
        signal.signal(signum, ask)
    try:
        yield stop
    finally:
        restore()
