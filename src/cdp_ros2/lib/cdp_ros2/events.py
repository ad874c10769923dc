"""What happens during a launch, and what a launch file does about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Union

from cdp_ros2.entity import Entity

if TYPE_CHECKING:
    from cdp_ros2.context import LaunchContext
    from cdp_ros2.process import ExecuteProcess


class Event:
    """Something that happened; `cause` is the event during whose handling it was emitted."""

    cause: Event | None = None


class Shutdown(Event):
    """The launch is to end."""

    def __init__(self, *, reason: str = "reason not given", due_to_sigint: bool = False) -> None:
        self.reason = reason
        self.due_to_sigint = due_to_sigint


class ProcessStarted(Event):
    """A process runs."""

    def __init__(self, *, action: ExecuteProcess, name: str, cmd: list[str], cwd: str | None, env: dict[str, str], pid: int) -> None:
        self.action = action
        self.process_name = name
        self.cmd = cmd
        self.cwd = cwd
        self.env = env
        self.pid = pid


class ProcessExited(ProcessStarted):
    """A process ended; `returncode` is negative where a signal ended it."""

    def __init__(self, *, returncode: int, **started: Any) -> None:
        super().__init__(**started)
        self.returncode = returncode


Reaction = Entity | Iterable[Entity] | Callable[[Any, Any], Any] | None


def react(reaction: Reaction, event: Event, context: LaunchContext) -> None:
    """Perform the entities of a reaction, or those that it returns if it is a function of event and context."""
    with context.handling(event):
        found = reaction if isinstance(reaction, Entity) or not callable(reaction) else reaction(event, context)
        if isinstance(found, Entity):
            found.visit(context)
        else:
            context.visit_all(found or ())


class EventHandler:
    """A reaction to events that a function picks."""

    def __init__(self, *, matcher: Callable[[Event], bool], entities: Reaction = None, handle_once: bool = False) -> None:
        self.matcher = matcher
        self.entities = entities
        self.handle_once = handle_once

    def handle(self, event: Event, context: LaunchContext) -> None:
        """React to the event if it is meant."""
        if self.matcher(event):
            if self.handle_once:
                context.event_handlers.remove(self)
            react(self.entities, event, context)


Target = Union["ExecuteProcess", Callable[["ExecuteProcess"], bool], None]


def _meant(target: Target, action: ExecuteProcess) -> bool:
    return target is None or target is action or (not isinstance(target, Entity) and target(action))


def _check_target(name: str, target: object) -> None:
    if target is not None and not callable(target) and not isinstance(target, Entity):
        raise TypeError(f"{name}: target_action must be an ExecuteProcess or Node action, got {target!r} ({type(target).__name__})")


class OnProcessExit(EventHandler):
    """Reacts to the end of a process (of every process where no target is given)."""

    def __init__(self, *, target_action: Target = None, on_exit: Reaction, handle_once: bool = False) -> None:
        _check_target("OnProcessExit", target_action)
        super().__init__(
            matcher=lambda e: isinstance(e, ProcessExited) and _meant(target_action, e.action), entities=on_exit, handle_once=handle_once
        )


class OnProcessStart(EventHandler):
    """Reacts to the start of a process (of every process where no target is given)."""

    def __init__(self, *, target_action: Target = None, on_start: Reaction, handle_once: bool = False) -> None:
        _check_target("OnProcessStart", target_action)
        super().__init__(
            matcher=lambda e: isinstance(e, ProcessStarted) and not isinstance(e, ProcessExited) and _meant(target_action, e.action),
            entities=on_start,
            handle_once=handle_once,
        )


class OnShutdown(EventHandler):
    """Reacts to the end of the launch."""

    def __init__(self, *, on_shutdown: Reaction, handle_once: bool = False) -> None:
        super().__init__(matcher=lambda e: isinstance(e, Shutdown), entities=on_shutdown, handle_once=handle_once)
