"""Values that are known when the launch runs."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory

from cdp_ros2.errors import LaunchError, SubstitutionError

if TYPE_CHECKING:
    from cdp_ros2.context import LaunchContext


class Substitution:
    """Something that becomes a string in a context."""

    def perform(self, context: LaunchContext) -> str:
        """Return the value."""
        raise NotImplementedError(type(self).__name__)

    def describe(self) -> str:
        """Return what `--show-args` shows."""
        return f"{type(self).__name__}()"


Text = str | Path | Substitution
SomeText = Text | Iterable[Text]


def to_substitutions(value: SomeText) -> list[Substitution]:
    """Return the parts of a value: a string, a substitution, or a list of both. Raises TypeError for anything else."""
    if isinstance(value, Substitution):
        return [value]
    if isinstance(value, (str, Path)):
        return [TextSubstitution(text=str(value))]
    if isinstance(value, Iterable):
        return [part for item in value for part in to_substitutions(item)]
    raise TypeError(f"expected a string, a substitution or a list of them, got {value!r} ({type(value).__name__})")


def perform(context: LaunchContext, value: SomeText) -> str:
    """Value of a string, a substitution, or a list of both, joined."""
    return "".join(part.perform(context) for part in to_substitutions(value))


def describe(value: SomeText) -> str:
    """What `--show-args` shows of a value."""
    return " + ".join(part.describe() for part in to_substitutions(value))


class TextSubstitution(Substitution):
    """A constant."""

    def __init__(self, *, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"TextSubstitution: text must be a string, got {text!r} ({type(text).__name__})")
        self.text = text

    def perform(self, context: LaunchContext) -> str:
        """Return the text."""
        return self.text

    def describe(self) -> str:
        """Return the quoted text."""
        return repr(self.text)


class LaunchConfiguration(Substitution):
    """The value of a launch argument."""

    def __init__(self, variable_name: SomeText, *, default: SomeText | None = None) -> None:
        self.variable_name = to_substitutions(variable_name)
        self.default = default

    def perform(self, context: LaunchContext) -> str:
        """Return the value. Raises SubstitutionError where there is none and no default."""
        name = perform(context, self.variable_name)
        if name in context.launch_configurations:
            return context.launch_configurations[name]
        if self.default is None:
            raise SubstitutionError(f"launch configuration '{name}' does not exist")
        return perform(context, self.default)

    def describe(self) -> str:
        """Return the name."""
        return f"LaunchConfiguration({describe(self.variable_name)})"


class EnvironmentVariable(Substitution):
    """The value of an environment variable."""

    def __init__(self, name: SomeText, *, default_value: SomeText | None = None) -> None:
        self.name = to_substitutions(name)
        self.default_value = default_value

    def perform(self, context: LaunchContext) -> str:
        """Return the value. Raises SubstitutionError where there is none and no default."""
        name = perform(context, self.name)
        if name in context.environment:
            return context.environment[name]
        if self.default_value is None:
            raise SubstitutionError(f"environment variable '{name}' does not exist")
        return perform(context, self.default_value)

    def describe(self) -> str:
        """Return the name."""
        return f"EnvVar({describe(self.name)})"


class PathJoinSubstitution(Substitution):
    """Parts of a path; a part is a string, a substitution, or a list of both."""

    def __init__(self, substitutions: Iterable[SomeText]) -> None:
        self.parts = [to_substitutions(part) for part in substitutions]

    def perform(self, context: LaunchContext) -> str:
        """Return the path."""
        return str(Path(*(perform(context, part) for part in self.parts)))

    def describe(self) -> str:
        """Return the parts."""
        return f"PathJoin({', '.join(describe(part) for part in self.parts)})"


class PythonExpression(Substitution):
    """A Python expression put together from strings and substitutions; the names of `python_modules` can be used in it."""

    def __init__(self, expression: SomeText, python_modules: Iterable[str] = ("math",)) -> None:
        self.expression = to_substitutions(expression)
        self.python_modules = [python_modules] if isinstance(python_modules, str) else list(python_modules)

    def perform(self, context: LaunchContext) -> str:
        """Return the expression's value as a string. Raises SubstitutionError where it cannot be evaluated."""
        expression = perform(context, self.expression)
        names: dict[str, object] = {}
        for name in self.python_modules:
            module = importlib.import_module(name)
            names.update(vars(module) if name == "math" else {})
            names[name] = module
        try:
            # A launch file is a program already: evaluating an expression of it gives it no new power.
            return str(eval(expression, {}, names))
        except Exception as error:
            raise SubstitutionError(f"PythonExpression {expression!r}: {type(error).__name__}: {error}") from error

    def describe(self) -> str:
        """Return the expression's parts."""
        return f"PythonExpr({describe(self.expression)})"


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def as_text(value: SomeText | float | None) -> SomeText:
    """Return a constant as an argument of a launch file would be written."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, (bool, int, float)) else value


def same(left: str, right: str) -> bool:
    """Equality of two values: as booleans, as numbers, or as text, the first that both are."""
    if left.lower() in _BOOLEANS and right.lower() in _BOOLEANS:
        return _BOOLEANS[left.lower()] == _BOOLEANS[right.lower()]
    try:
        return math.isclose(float(left), float(right))
    except ValueError:
        return left == right


class EqualsSubstitution(Substitution):
    """'true' where both values are equal."""

    def __init__(self, left: SomeText | float | None, right: SomeText | float | None) -> None:
        self.left, self.right = to_substitutions(as_text(left)), to_substitutions(as_text(right))

    def perform(self, context: LaunchContext) -> str:
        """Return 'true' or 'false'."""
        return str(same(perform(context, self.left), perform(context, self.right))).lower()

    def describe(self) -> str:
        """Return both sides."""
        return f"{type(self).__name__}({describe(self.left)} {describe(self.right)})"


class NotEqualsSubstitution(EqualsSubstitution):
    """'true' where the values differ."""

    def perform(self, context: LaunchContext) -> str:
        """Return 'true' or 'false'."""
        return str(not same(perform(context, self.left), perform(context, self.right))).lower()


class ThisLaunchFileDir(Substitution):
    """The directory of the launch file."""

    def perform(self, context: LaunchContext) -> str:
        """Return the directory. Raises SubstitutionError outside a launch file."""
        if context.launch_file_directory is None:
            raise SubstitutionError("ThisLaunchFileDir used outside of a launch file")
        return context.launch_file_directory


class FindPackagePrefix(Substitution):
    """The install prefix of a package."""

    def __init__(self, package: SomeText) -> None:
        self.package = to_substitutions(package)

    def find(self, name: str) -> str:
        """Return the directory of a package. Raises PackageNotFoundError."""
        return str(get_package_prefix(name))

    def perform(self, context: LaunchContext) -> str:
        """Return the directory. Raises LaunchError where the package is not in the ament index."""
        name = perform(context, self.package)
        try:
            return self.find(name)
        except PackageNotFoundError:
            raise LaunchError(f"package '{name}' is not installed, or its workspace is not sourced") from None

    def describe(self) -> str:
        """Return the package."""
        return f"{type(self).__name__}({describe(self.package)})"


class FindPackageShare(FindPackagePrefix):
    """The share directory of a package."""

    def find(self, name: str) -> str:
        """Return the share directory of a package. Raises PackageNotFoundError."""
        return str(get_package_share_directory(name))
