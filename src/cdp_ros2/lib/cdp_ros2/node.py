"""Actions that run ROS nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdp_ros2 import index
from cdp_ros2 import parameters as ros_parameters
from cdp_ros2.entity import Action
from cdp_ros2.errors import LaunchError, UnsupportedError
from cdp_ros2.process import ExecuteProcess
from cdp_ros2.substitutions import SomeText, perform, to_substitutions

if TYPE_CHECKING:
    from cdp_ros2.context import LaunchContext


class SetParameter(Action):
    """Sets a parameter of every node started after it in this scope."""

    def __init__(self, name: SomeText, value: Any, **options: Any) -> None:
        super().__init__(**options)
        self.name, self.value = to_substitutions(name), value

    def execute(self, context: LaunchContext) -> None:
        """Set it."""
        name = perform(context, self.name)
        context.global_parameters[name] = ros_parameters.evaluate(context, self.value)


class Node(ExecuteProcess):
    """A node: an executable of a package, with name, namespace, parameters and remappings."""

    def __init__(
        self,
        *,
        executable: SomeText,
        package: SomeText | None = None,
        name: SomeText | None = None,
        namespace: SomeText | None = None,
        exec_name: SomeText | None = None,
        parameters: Iterable[SomeText | Mapping[Any, Any]] | None = None,
        remappings: Iterable[tuple[SomeText, SomeText]] | None = None,
        arguments: Iterable[SomeText] | None = None,
        ros_arguments: Iterable[SomeText] | None = None,
        **options: Any,
    ) -> None:
        for refused in ("cmd", "shell"):
            if refused in options:
                raise TypeError(f"Node: argument '{refused}' belongs to ExecuteProcess")
        super().__init__(cmd=[executable], name=exec_name, **options)
        if isinstance(parameters, (str, Path, Mapping)):
            raise TypeError(f"Node: parameters must be a list of dictionaries and paths, got {parameters!r}")
        self.package = None if package is None else to_substitutions(package)
        self.executable = to_substitutions(executable)
        self.node_name = None if name is None else to_substitutions(name)
        self.namespace = None if namespace is None else to_substitutions(namespace)
        self.parameters = list(parameters or ())
        self.remappings = [(to_substitutions(a), to_substitutions(b)) for a, b in remappings or ()]
        self.node_arguments = [to_substitutions(value) for value in arguments or ()]
        self.ros_arguments = [to_substitutions(value) for value in ros_arguments or ()]

    def command(self, context: LaunchContext) -> tuple[list[str], list[Path]]:
        """Return the command line, in the order of the genuine launch, and the parameter files made for it."""
        program = perform(context, self.executable)
        if self.package is not None:
            program = str(index.executable(perform(context, self.package), program))
        name = "" if self.node_name is None else perform(context, self.node_name)
        namespace = "" if self.namespace is None else "/" + perform(context, self.namespace).strip("/")
        cmd = [program, *(perform(context, value) for value in self.node_arguments), "--ros-args"]
        cmd += [perform(context, value) for value in self.ros_arguments]
        cmd += ["-r", f"__node:={name}"] if name else []
        cmd += ["-r", f"__ns:={namespace}"] if namespace else []
        for key, value in context.global_parameters.items():
            cmd += ["-p", ros_parameters.argument(key, value)]
        made: list[Path] = []
        for source in self.parameters:
            cmd += ["--params-file", str(self._parameter_file(context, source, f"{namespace.rstrip('/')}/{name}" if name else "/**", made))]
        for before, after in self.remappings:
            cmd += ["-r", f"{perform(context, before)}:={perform(context, after)}"]
        return cmd, made

    def _parameter_file(self, context: LaunchContext, source: SomeText | Mapping[Any, Any], node: str, made: list[Path]) -> Path:
        if isinstance(source, Mapping):
            made.append(ros_parameters.write_file(ros_parameters.flatten(context, source), node))
            return made[-1]
        path = Path(perform(context, source))
        if not path.is_file():
            raise LaunchError(f"parameter file '{path}' of node '{node}' does not exist")
        return path


class LifecycleNode(Node):
    """A node with a managed life cycle, which starts unconfigured."""

    def __init__(self, *, name: SomeText, namespace: SomeText, autostart: bool = False, **options: Any) -> None:
        if autostart:
            raise UnsupportedError(
                "LifecycleNode(autostart=True) is not in this subset of ROS 2 launch: let the node activate itself, or call its services"
            )
        super().__init__(name=name, namespace=namespace, **options)
