"""The state that a launch description is performed in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cdp_ros2.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdp_ros2.entity import Entity
    from cdp_ros2.events import Event, EventHandler
    from cdp_ros2.keeper import Guardian


class LaunchContext:
    """Launch configurations, environment, parameters of every node, event handlers; and the running loop while there is one."""

    def __init__(self, *, argv: Iterable[str] = (), noninteractive: bool = True) -> None:
        self.argv = list(argv)
        self.noninteractive = noninteractive
        self.launch_configurations: dict[str, str] = {}
        self.environment: dict[str, str] = dict(os.environ)
        self.global_parameters: dict[str, Any] = {}
        self.launch_file_directory: str | None = None
        self.event_handlers: list[EventHandler] = []
        self.current_event: Event | None = None
        self.shutdown = asyncio.Event()
        # Set by a second and a third request to end: SIGTERM and SIGKILL at once.
        self.hurry = (asyncio.Event(), asyncio.Event())
        self.pending: list[Event] = []
        self.on_event: Callable[[Event], None] = self.pending.append
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_failure: Callable[[], None] = lambda: None
        self.failure: BaseException | None = None
        self._process_count = 0
        self.log = Log()
        self.guardian: Guardian | None = None

    # ---- events
    def emit(self, event: Event) -> None:
        """Queue an event for the service; it remembers the event during whose handling it was emitted."""
        event.cause = self.current_event
        self.on_event(event)

    def spawn(self, coroutine: Any) -> asyncio.Task[None]:
        """Run a coroutine within this launch; its exception ends the launch."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Keep the first error and stop; the service reports it."""
        if self.failure is None:
            self.failure = error
        self.on_failure()

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Coroutines under way: processes, timers."""
        return self._tasks

    def next_process_number(self) -> int:
        """Number that makes a process' name unique within this launch."""
        self._process_count += 1
        return self._process_count

    # ---- scopes
    def snapshot(self) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
        """Copy of everything that a scope confines."""
        return dict(self.launch_configurations), dict(self.environment), dict(self.global_parameters)

    def restore(self, state: tuple[dict[str, str], dict[str, str], dict[str, Any]]) -> None:
        """Back to what `snapshot` returned."""
        self.launch_configurations, self.environment, self.global_parameters = dict(state[0]), dict(state[1]), dict(state[2])

    @contextmanager
    def handling(self, event: Event | None) -> Iterator[None]:
        """Attribute what is emitted within to this event."""
        before, self.current_event = self.current_event, event
        try:
            yield
        finally:
            self.current_event = before

    def visit_all(self, entities: Iterable[Entity]) -> None:
        """Perform entities in order."""
        for entity in entities:
            entity.visit(self)
