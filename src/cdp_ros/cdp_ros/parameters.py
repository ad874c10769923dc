"""ROS parameters declared from a typed configuration, and read back through its checks."""

from __future__ import annotations

import dataclasses
import typing
from typing import TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from cdp.config import ConfigError, from_mapping

T = TypeVar("T")


def declare(node: Node, cls: type[T], *, read_only: bool = True, prefix: str = "") -> None:
    """Declare each field of the dataclass ``cls`` as a parameter, described by its :func:`cdp.config.setting`; ``read_only``: set at the start only.

    ``prefix`` is put before each name, e.g. ``camera.wrist.``.

    Raises :class:`cdp.config.ConfigError` for a value of another type or outside its range.
    """
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(typing.cast(typing.Any, cls)):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        try:
            node.declare_parameter(prefix + field.name, default, describe(field, hints[field.name], read_only))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(str(error)) from None


def read(node: Node, cls: type[T], *, prefix: str = "") -> T:
    """The parameters, whose names begin with ``prefix``, as an instance of ``cls``. Raises :class:`cdp.config.ConfigError`."""
    names = [field.name for field in dataclasses.fields(typing.cast(typing.Any, cls))]
    return from_mapping(cls, {name: node.get_parameter(prefix + name).value for name in names}, prefix)


def describe(field: dataclasses.Field[typing.Any], hint: object, read_only: bool) -> ParameterDescriptor:
    """Descriptor of one field: description, range or choices. The type is left open of a float, which also takes a whole number, and of a list
    that is empty by default, which ROS takes for one of bytes."""
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    descriptor = ParameterDescriptor(description=field.metadata["help"], read_only=read_only, dynamic_typing=hint is float or field.default == ())
    if choices:
        descriptor.additional_constraints = f"one of {', '.join(map(repr, choices))}"
    if hint is int and low is not None and high is not None:
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    if hint is float and low is not None and high is not None:
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)]
    return descriptor
