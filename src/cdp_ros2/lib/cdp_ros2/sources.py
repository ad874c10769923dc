"""Where launch descriptions come from."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from cdp_ros2.entity import LaunchDescription
from cdp_ros2.errors import LaunchError
from cdp_ros2.substitutions import SomeText, perform, to_substitutions

if TYPE_CHECKING:
    from cdp_ros2.context import LaunchContext


class LaunchDescriptionSource:
    """A launch file at a path."""

    def __init__(self, location: SomeText) -> None:
        self.parts = to_substitutions(location)

    def location(self, context: LaunchContext) -> Path:
        """Return the path. Raises LaunchError where a part of it has no value."""
        return Path(perform(context, self.parts))

    def directory(self, context: LaunchContext) -> str:
        """Return the directory of the file."""
        return str(self.location(context).absolute().parent)

    def load(self, context: LaunchContext) -> LaunchDescription:
        """Return the description."""
        raise NotImplementedError(type(self).__name__)


class PythonLaunchDescriptionSource(LaunchDescriptionSource):
    """A Python launch file with a function `generate_launch_description()`."""

    def __init__(self, launch_file_path: SomeText) -> None:
        super().__init__(launch_file_path)

    def load(self, context: LaunchContext) -> LaunchDescription:
        """Return the description. Raises LaunchError where the file is not a Python launch file; an error of its own passes."""
        return load_python(self.location(context))


def load_python(path: Path) -> LaunchDescription:
    """Return the description of a Python launch file. Raises LaunchError where it is none; an error within the file passes."""
    if not path.is_file():
        raise LaunchError(f"launch file '{path}' does not exist")
    if path.suffix != ".py":
        raise LaunchError(f"launch file '{path}': only Python launch files (.py) are in this subset of ROS 2 launch")
    spec = importlib.util.spec_from_file_location(f"launch_file_{path.stem.replace('.', '_')}", path)
    if spec is None or spec.loader is None:
        raise LaunchError(f"launch file '{path}' cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    generate = getattr(module, "generate_launch_description", None)
    if generate is None:
        raise LaunchError(f"launch file '{path}' has no function generate_launch_description()")
    description = generate()
    if not isinstance(description, LaunchDescription):
        raise LaunchError(f"launch file '{path}': generate_launch_description() returned {type(description).__name__}, not a LaunchDescription")
    return description
