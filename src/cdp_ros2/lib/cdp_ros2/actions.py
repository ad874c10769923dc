"""Actions that start no process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cdp_ros2 import events
from cdp_ros2.entity import Action, Entity, collect
from cdp_ros2.errors import LaunchError
from cdp_ros2.sources import LaunchDescriptionSource, PythonLaunchDescriptionSource
from cdp_ros2.substitutions import SomeText, describe, perform, to_substitutions

if TYPE_CHECKING:
    from cdp_ros2.context import LaunchContext


class DeclareLaunchArgument(Action):
    """Declares an argument of the launch file, with default, description and choices."""

    def __init__(
        self,
        name: str,
        *,
        default_value: SomeText | None = None,
        description: str | None = None,
        choices: Iterable[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.name = name
        self.default_value = None if default_value is None else to_substitutions(default_value)
        self.choices = None if choices is None else list(choices)
        self.description = description or "no description given"
        if self.choices is not None:
            if not self.choices or (isinstance(default_value, str) and default_value not in self.choices):
                raise LaunchError(f"DeclareLaunchArgument '{name}': choices must not be empty and must have the default '{default_value}'")
            self.description = f"{description.rstrip('.')}. Valid choices are: {self.choices}" if description else f"One of: {self.choices}"

    def execute(self, context: LaunchContext) -> None:
        """Set the default where no value was given. Raises LaunchError for a missing or refused value."""
        if self.name not in context.launch_configurations:
            if self.default_value is None:
                raise LaunchError(f"launch argument '{self.name}' has no default and was not given ({self.description}): add {self.name}:=VALUE")
            context.launch_configurations[self.name] = perform(context, self.default_value)
        value = context.launch_configurations[self.name]
        if self.choices is not None and value not in self.choices:
            raise LaunchError(f"launch argument '{self.name}' is '{value}', which is not one of {self.choices}")

    def arguments(self, context: LaunchContext) -> list[DeclareLaunchArgument]:
        """Return itself, and let the default serve in the paths of files included further on."""
        if self.default_value is not None and self.name not in context.launch_configurations:
            try:
                context.launch_configurations[self.name] = perform(context, self.default_value)
            except LaunchError:
                return [self]  # A default that needs the running launch: an include that depends on it cannot be listed.
        return [self]

    def describe_default(self) -> str | None:
        """Return what `--show-args` shows of the default, None where there is none."""
        return None if self.default_value is None else describe(self.default_value)


class SetLaunchConfiguration(Action):
    """Sets a launch configuration."""

    def __init__(self, name: SomeText, value: SomeText, **options: Any) -> None:
        super().__init__(**options)
        self.name, self.value = to_substitutions(name), to_substitutions(value)

    def execute(self, context: LaunchContext) -> None:
        """Set it."""
        context.launch_configurations[perform(context, self.name)] = perform(context, self.value)


class SetEnvironmentVariable(Action):
    """Sets an environment variable of the processes started after it."""

    def __init__(self, name: SomeText, value: SomeText, **options: Any) -> None:
        super().__init__(**options)
        self.name, self.value = to_substitutions(name), to_substitutions(value)

    def execute(self, context: LaunchContext) -> None:
        """Set it."""
        context.environment[perform(context, self.name)] = perform(context, self.value)


class LogInfo(Action):
    """Writes a line."""

    def __init__(self, *, msg: SomeText, **options: Any) -> None:
        super().__init__(**options)
        self.msg = to_substitutions(msg)

    def execute(self, context: LaunchContext) -> None:
        """Write it."""
        context.log.info("launch.user", perform(context, self.msg))


class GroupAction(Action):
    """Actions performed in a scope of their own: what they set ends with it."""

    def __init__(
        self, actions: Iterable[Entity], *, scoped: bool = True, launch_configurations: Mapping[str, SomeText] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.actions = list(actions)
        self.scoped = scoped
        self.launch_configurations = dict(launch_configurations or {})

    def execute(self, context: LaunchContext) -> None:
        """Perform the actions."""
        before = context.snapshot()
        try:
            for name, value in self.launch_configurations.items():
                context.launch_configurations[name] = perform(context, value)
            context.visit_all(self.actions)
        finally:
            if self.scoped:
                context.restore(before)

    def arguments(self, context: LaunchContext) -> list[DeclareLaunchArgument]:
        """Return the arguments declared within."""
        return collect(self.actions, context)


class OpaqueFunction(Action):
    """Calls a function of the context, which may return entities to be performed."""

    def __init__(
        self, *, function: Callable[..., Iterable[Entity] | None], args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        if not callable(function):
            raise TypeError(f"OpaqueFunction: function must be callable, got {function!r}")
        self.function, self.args, self.kwargs = function, tuple(args), dict(kwargs or {})

    def execute(self, context: LaunchContext) -> None:
        """Call it."""
        context.visit_all(self.function(context, *self.args, **self.kwargs) or ())


class IncludeLaunchDescription(Action):
    """Performs another launch file, with arguments. As in the genuine launch, the included file's configurations stay set after it."""

    def __init__(
        self,
        launch_description_source: LaunchDescriptionSource | SomeText,
        *,
        launch_arguments: Iterable[tuple[SomeText, SomeText]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        source = launch_description_source
        self.source = source if isinstance(source, LaunchDescriptionSource) else PythonLaunchDescriptionSource(source)
        self.launch_arguments = [(to_substitutions(name), to_substitutions(value)) for name, value in launch_arguments or ()]

    def execute(self, context: LaunchContext) -> None:
        """Perform the file."""
        description = self.source.load(context)
        for name, value in self.launch_arguments:
            context.launch_configurations[perform(context, name)] = perform(context, value)
        before, context.launch_file_directory = context.launch_file_directory, self.source.directory(context)
        try:
            description.visit(context)
        finally:
            context.launch_file_directory = before

    def arguments(self, context: LaunchContext) -> list[DeclareLaunchArgument]:
        """Return the arguments of the included file, none where its path is not known before the launch runs."""
        try:
            self.source.location(context)
        except LaunchError:
            return []
        return self.source.load(context).arguments(context)


class RegisterEventHandler(Action):
    """Lets a handler react from now on."""

    def __init__(self, event_handler: events.EventHandler, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(event_handler, events.EventHandler):
            raise TypeError(f"RegisterEventHandler: expected an event handler, got {event_handler!r}")
        self.event_handler = event_handler

    def execute(self, context: LaunchContext) -> None:
        """Register it."""
        context.event_handlers.append(self.event_handler)


class UnregisterEventHandler(RegisterEventHandler):
    """Ends a handler's reactions."""

    def execute(self, context: LaunchContext) -> None:
        """Unregister it."""
        if self.event_handler in context.event_handlers:
            context.event_handlers.remove(self.event_handler)


class EmitEvent(Action):
    """Emits an event."""

    def __init__(self, *, event: events.Event, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(event, events.Event):
            raise TypeError(f"EmitEvent: expected an event, got {event!r}")
        self.event = event

    def execute(self, context: LaunchContext) -> None:
        """Emit it."""
        context.emit(self.event)


class Shutdown(Action):
    """Ends the launch."""

    def __init__(self, *, reason: SomeText = "", **options: Any) -> None:
        super().__init__(**options)
        self.reason = to_substitutions(reason)

    def execute(self, context: LaunchContext) -> None:
        """Emit the event, with the process' name in the reason where one's end led here."""
        cause = context.current_event
        ended = f"[{cause.process_name}] ended" if isinstance(cause, events.ProcessExited) else ""
        context.emit(events.Shutdown(reason=": ".join(filter(None, (ended, perform(context, self.reason))))))


class TimerAction(Action):
    """Performs actions after a while, with the configurations of now."""

    def __init__(self, *, period: float | SomeText, actions: Iterable[Entity], **options: Any) -> None:
        super().__init__(**options)
        self.period = to_substitutions(str(period)) if isinstance(period, (int, float)) else to_substitutions(period)
        self.actions = list(actions)

    def execute(self, context: LaunchContext) -> None:
        """Start the timer. Raises LaunchError for a period that is not a number of seconds."""
        context.spawn(self._after(context, seconds(context, "TimerAction: period", self.period), context.snapshot(), context.current_event))

    async def _after(self, context: LaunchContext, period_s: float, state: Any, cause: events.Event | None) -> None:
        try:
            await asyncio.wait_for(context.shutdown.wait(), period_s)
            return
        except asyncio.TimeoutError:
            pass
        before = context.snapshot()
        context.restore(state)
        try:
            with context.handling(cause):
                context.visit_all(self.actions)
        finally:
            context.restore(before)


SomeSeconds = float | SomeText


def seconds(context: LaunchContext, what: str, value: SomeSeconds) -> float:
    """Value of a duration [s]. Raises LaunchError where it is negative or not a number."""
    text = str(value) if isinstance(value, (int, float)) else perform(context, value)
    try:
        result = float(text)
    except ValueError:
        result = -1.0
    if not 0.0 <= result < float("inf"):
        raise LaunchError(f"{what} must be a number of seconds, 0 or more, got '{text}'")
    return result
