"""Ending a node on SIGINT and SIGTERM between two callbacks.

rclpy's own handlers shut the context down from another thread, under a callback that may be publishing: a clean end then looks like a crash.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.executors import Executor

# How long a quiet node may take to notice a signal.
_WAKE_S = 0.1


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets. Use it in the main thread, with ``rclpy.init(signal_handler_options=SignalHandlerOptions.NO)``."""
    stop = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def spin_until(stop: threading.Event, executor: Executor) -> None:
    """Work off callbacks until ``stop`` is set."""
    while not stop.is_set():
        executor.spin_once(timeout_sec=_WAKE_S)
