"""Waiting for topics, services and actions of other nodes, from a script that owns its executor: every wait has a condition and a deadline."""

from __future__ import annotations

import contextlib
import signal
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

from cdp_ros.call import UNANSWERED_S, Call
from cdp_ros.executor import make_executor
from rclpy.client import Client
from rclpy.node import Node

from cdp.evaluation.results import EvaluationError

SPIN_S = 0.05
RETRY_PERIOD_S = 0.2
PEER_DEADLINE_S = 60.0
SERVICE_DEADLINE_S = 20.0


class Interrupt:
    """The first SIGINT or SIGTERM within its block becomes SystemExit, but not out of a callback, where the executor would make another error of it.

    What comes after the first is ignored: the end that it began has deadlines of its own. A context manager, for the main thread.
    """

    def __init__(self) -> None:
        self._held = self._raised = False
        self._signal: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        self._previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A block that ends before the interrupt."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self._raise()

    def _on_signal(self, number: int, frame: types.FrameType | None) -> None:
        self._signal = number
        if not self._held:
            self._raise()

    def _raise(self) -> None:
        if self._signal is not None and not self._raised:
            self._raised = True
            raise SystemExit(128 + self._signal)


class Caller:
    """Spins ``node`` alone. ``alive`` is asked at each turn and raises where waiting has become useless."""

    def __init__(self, node: Node, alive: Callable[[], None], interrupt: Interrupt) -> None:
        self._alive, self._interrupt = alive, interrupt
        self._executor = make_executor()
        self._executor.add_node(node)

    def spin(self) -> None:
        """One turn of callbacks."""
        self._alive()
        with self._interrupt.held():
            self._executor.spin_once(timeout_sec=SPIN_S)

    def drain(self) -> None:
        """Take in what has queued up while nobody spun."""
        end = time.monotonic() + SPIN_S
        while time.monotonic() < end:
            with self._interrupt.held():
                self._executor.spin_once(timeout_sec=0.0)

    def until(self, condition: Callable[[], bool], deadline_s: float, what: str) -> None:
        """Spin until ``condition``. Raises :class:`EvaluationError` after ``deadline_s``."""
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                raise EvaluationError(f"waited {deadline_s:.0f} s for {what}; see the messages of that node")
            self.spin()

    def call(self, client: Client, request: Any, deadline_s: float = SERVICE_DEADLINE_S, *, once: bool = False) -> Any:
        """The answer of a service. Raises :class:`EvaluationError`.

        Asked again while it is not answered (:class:`Call`), unless it may be asked ``once`` only.
        """
        self.until(client.service_is_ready, PEER_DEADLINE_S, f"the service {client.srv_name}")
        call = Call(client, request, None if once else UNANSWERED_S)
        self.until(call.done, deadline_s, f"an answer of {client.srv_name}")
        return call.result()

    def succeed(
        self, client: Client, request: Any, what: str, *, retry_s: float = 0.0, deadline_s: float = SERVICE_DEADLINE_S, once: bool = False
    ) -> Any:
        """An answer with ``success``, asked for again for ``retry_s``. Raises :class:`EvaluationError` with ``what`` and the last message."""
        end = time.monotonic() + retry_s
        while not (answer := self.call(client, request, deadline_s, once=once)).success:
            if time.monotonic() > end:
                raise EvaluationError(f"{what}: {answer.message}")
            again = time.monotonic() + RETRY_PERIOD_S
            while time.monotonic() < again:
                self.spin()
        return answer

    def close(self) -> None:
        """Spin no more."""
        self._executor.shutdown()
