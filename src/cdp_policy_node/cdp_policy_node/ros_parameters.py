"""ROS parameters of a node, declared from a typed configuration and read back through its checks."""

from __future__ import annotations

import dataclasses
import typing
from typing import TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from cdp.config import from_mapping

T = TypeVar("T")


def declare(node: Node, cls: type[T]) -> None:
    """Declare a parameter for each field of the dataclass ``cls``, described by its :func:`cdp.config.setting`."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(typing.cast(typing.Any, cls)):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        node.declare_parameter(field.name, default, _descriptor(field, hints[field.name]))


def read(node: Node, cls: type[T]) -> T:
    """The parameters as an instance of ``cls``. Raises :class:`cdp.config.ConfigError` naming the key, the value and what is allowed."""
    names = [field.name for field in dataclasses.fields(typing.cast(typing.Any, cls))]
    return from_mapping(cls, {name: node.get_parameter(name).value for name in names})


def _descriptor(field: dataclasses.Field[typing.Any], hint: object) -> ParameterDescriptor:
    # A whole number is a number too: `timeout_s:=1` must not be refused for its type.
    descriptor = ParameterDescriptor(description=field.metadata["help"], dynamic_typing=hint is float)
    choices, low, high = (field.metadata[key] for key in ("choices", "low", "high"))
    if choices:
        descriptor.additional_constraints = f"one of {', '.join(map(repr, choices))}"
    if hint is int and low is not None and high is not None:
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    elif hint is float and low is not None and high is not None:
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)]
    return descriptor
