"""ROS parameters of nodes: values, and the files and arguments that carry them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cdp_ros2.errors import LaunchError, UnsupportedError
from cdp_ros2.substitutions import SomeText, Substitution, perform, to_substitutions

if TYPE_CHECKING:
    from cdp_ros2.context import LaunchContext

SCALARS = (bool, int, float, str)


class ParameterValue:
    """A value of a stated type: `ParameterValue(LaunchConfiguration('ip'), value_type=str)` stays a string whatever it looks like."""

    def __init__(self, value: Any, *, value_type: type | None = None, description: SomeText | None = None) -> None:
        if value_type not in (None, *SCALARS):
            raise UnsupportedError(f"ParameterValue(value_type={value_type!r}) is not in this subset of ROS 2 launch (it has str, int, float, bool)")
        self.value, self.value_type, self.description = value, value_type, description

    def evaluate(self, context: LaunchContext) -> Any:
        """Return the value. Raises LaunchError where it is not of its type."""
        if self.value_type is str:
            return perform(context, self.value) if not isinstance(self.value, (bool, int, float)) else str(self.value)
        value = evaluate(context, self.value)
        if self.value_type is float and type(value) is int:
            return float(value)
        if self.value_type is not None and type(value) is not self.value_type:
            raise LaunchError(f"parameter value {value!r} is not of type {self.value_type.__name__}")
        return value


def read_yaml(text: str) -> Any:
    """Return the value that a substitution's text stands for. Raises LaunchError where it is none."""
    advice = "use ParameterValue(..., value_type=str) for text"
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LaunchError(f"parameter value '{text}' cannot be read as YAML: {advice}") from error
    if value is None:
        raise LaunchError(f"parameter value '{text}' is empty: {advice}")
    return value


def evaluate(context: LaunchContext, value: Any) -> Any:
    """Return a parameter's value by the rules of the genuine launch. Raises LaunchError where it is no parameter.

    Text written in the launch file stays text. What substitutions yield is read as YAML. A list of substitutions and text is one joined value;
    a list of lists, numbers, booleans or text alone is a list, of one type.
    """
    if isinstance(value, ParameterValue):
        return value.evaluate(context)
    if isinstance(value, Substitution):
        value = read_yaml(perform(context, value))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if any(isinstance(item, Substitution) for item in value):
            value = read_yaml(perform(context, value))
        else:
            value = [evaluate(context, item) for item in value]
            if {type(item) for item in value} == {int, float}:
                value = [float(item) for item in value]
    if isinstance(value, list):
        if not value or len({type(item) for item in value}) > 1 or not isinstance(value[0], SCALARS):
            raise LaunchError(f"parameter value {value!r}: a list must hold numbers, text or booleans, one or more, all of one type")
    elif not isinstance(value, SCALARS):
        raise LaunchError(f"parameter value {value!r} ({type(value).__name__}) is not a number, text, boolean or a list of one of them")
    return value


def flatten(context: LaunchContext, parameters: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return `name: value` of a dictionary of parameters; nested names are joined by dots."""
    result: dict[str, Any] = {}
    for key, value in parameters.items():
        name = prefix + perform(context, to_substitutions(key))
        if isinstance(value, Mapping):
            result.update(flatten(context, value, name + "."))
        else:
            try:
                result[name] = evaluate(context, value)
            except LaunchError as error:
                raise LaunchError(f"parameter '{name}': {error}") from error
    return result


def write_file(values: Mapping[str, Any], node: str) -> Path:
    """Write a temporary parameter file for the node's full name (or `/**`) and return its path."""
    descriptor, path = tempfile.mkstemp(prefix="launch_params_")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yaml.safe_dump({node: {"ros__parameters": dict(values)}}, file, default_flow_style=False)
    return Path(path)


def argument(name: str, value: Any) -> str:
    """Return the argument of `-p` that sets a parameter."""
    return f"{name}:={json.dumps(value)}"  # JSON is the one-line YAML that rcl parses.
