"""Runs a launch description from its first action to the end of its last process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable

from cdp_ros2 import events
from cdp_ros2.context import LaunchContext
from cdp_ros2.entity import Entity, LaunchDescription
from cdp_ros2.errors import UnsupportedError
from cdp_ros2.keeper import Guardian
from cdp_ros2.log import Log, log_directory

FAILED = 1
# What tells the user more than a traceback does: this subset's own errors, and what a launch file raises to refuse what it was asked for.
PLAIN_ERRORS = (RuntimeError, UnsupportedError)


class LaunchService:
    """Performs launch descriptions and answers events until nothing is left to wait for.

    SIGINT, SIGTERM and SIGHUP end the launch: every process group gets SIGINT, then SIGTERM, then SIGKILL, each after the process' own timeout
    or at once on the next such signal. `run` returns 1 where the description failed or where a process that ended with an error ended the
    launch, else 0.
    """

    def __init__(self, *, argv: Iterable[str] = (), noninteractive: bool = True) -> None:
        self.context = LaunchContext(argv=argv, noninteractive=noninteractive)
        self._description = LaunchDescription()
        self._returncode = 0
        self._requests = 0
        self._arrived = asyncio.Event()

    def include_launch_description(self, launch_description: Entity) -> None:
        """Add a description, before `run`."""
        self._description.add_action(launch_description)

    def emit_event(self, event: events.Event) -> None:
        """Queue an event."""
        self.context.emit(event)

    def shutdown(self) -> None:
        """End the launch."""
        self.context.emit(events.Shutdown(reason="LaunchService.shutdown() called"))

    def run(self) -> int:
        """Run until the end and return the exit status."""
        return asyncio.run(self.run_async())

    async def run_async(self) -> int:
        """Run until the end and return the exit status."""
        context, loop = self.context, asyncio.get_running_loop()
        context.log = Log(log_directory(context.environment))
        context.on_failure = self.shutdown
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._asked_to_end, number)
        context.guardian = Guardian()
        try:
            self._start()
            await self._answer_events()
            return self._result()
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
            context.guardian.close()
            context.log.close()

    def _start(self) -> None:
        try:
            self._description.visit(self.context)
        except Exception as error:  # noqa: BLE001  # whatever a launch file raises: stop what it started, then report it
            self.context.fail(error)

    async def _answer_events(self) -> None:
        context = self.context
        while True:
            while context.pending:
                self._answer(context.pending.pop(0))
            if context.log.lost and not context.shutdown.is_set():
                self._begin_shutdown(events.Shutdown(reason="the terminal has gone away"))
            if not context.tasks and not context.pending:
                break
            # A task that ends always wakes us: it has emitted an event, failed, or is the last.
            await asyncio.wait(context.tasks, return_when=asyncio.FIRST_COMPLETED, timeout=0.05)
        if not context.shutdown.is_set():
            self._begin_shutdown(events.Shutdown(reason="idle"))

    def _answer(self, event: events.Event) -> None:
        if isinstance(event, events.Shutdown):
            if self.context.shutdown.is_set():
                return
            self._begin_shutdown(event)
            return
        self._handle(event)

    def _handle(self, event: events.Event) -> None:
        for handler in list(self.context.event_handlers):
            try:
                handler.handle(event, self.context)
            except Exception as error:  # noqa: BLE001  # as in _start
                self.context.fail(error)

    def _begin_shutdown(self, event: events.Shutdown) -> None:
        cause = event.cause
        if isinstance(cause, events.ProcessExited) and cause.returncode != 0:
            self._returncode = FAILED
            self.context.log.error("launch", f"shutting down: {event.reason} (exit code {cause.returncode}, so this launch has failed)")
        elif event.reason != "idle":
            self.context.log.info("launch", f"shutting down: {event.reason}")
        self.context.shutdown.set()
        self._handle(event)

    def _asked_to_end(self, number: signal.Signals) -> None:
        self._requests += 1
        if self._requests == 1:
            word = "user interrupted with ctrl-c (SIGINT)" if number == signal.SIGINT else f"asked to end by {number.name}"
            self.context.log.warning("launch", word)
            self.context.emit(events.Shutdown(reason=word, due_to_sigint=number == signal.SIGINT))
        elif self._requests - 2 < len(self.context.hurry):
            self.context.hurry[self._requests - 2].set()

    def _result(self) -> int:
        error = self.context.failure
        if error is None:
            return self._returncode
        if not isinstance(error, PLAIN_ERRORS):
            raise error
        self.context.log.error("launch", f"{error}")
        return FAILED
