"""Numbers out of a message of any type: the type by its name, the fields by dotted paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.config import ConfigError

_TYPE = re.compile(r"([a-z][a-z0-9_]*)/msg/([A-Za-z0-9]+)")


def message_type(name: str, key: str) -> type:
    """The class of a message type such as ``geometry_msgs/msg/WrenchStamped``. Raises :class:`cdp.config.ConfigError` with ``key``."""
    match = _TYPE.fullmatch(name)
    if match is None:
        raise ConfigError(f"{key}: {name!r} is no message type; write it as geometry_msgs/msg/WrenchStamped")
    package, message = match.groups()
    try:
        return getattr(import_module(f"{package}.msg"), message)  # type: ignore[no-any-return]
    except ImportError:
        raise ConfigError(f"{key}: the package {package} of {name!r} is not installed") from None
    except AttributeError:
        raise ConfigError(f"{key}: the package {package} has no message {message}") from None


class MessageFields:
    """Picks numbers out of messages of one type: ``paths``, each a number, a sequence of numbers or a message of them, or everything but the header.

    Raises :class:`cdp.config.ConfigError` with ``key`` for a path that is not there or holds no number.
    """

    def __init__(self, cls: type, paths: Sequence[str], key: str) -> None:
        example = cls()
        self.stamped = hasattr(getattr(example, "header", None), "stamp")
        chosen = paths or [name for name in example.get_fields_and_field_types() if name != "header"]
        leaves = [(path, list(_leaves(example, path, key))) for path in chosen]
        empty = [path for path, found in leaves if not found]
        if paths and empty:
            raise ConfigError(f"{key}: {empty[0]!r} of {cls.__name__} holds no number")
        self._leaves = [leaf for _, found in leaves for leaf in found]
        if not self._leaves:
            raise ConfigError(f"{key}: {cls.__name__} holds no number")
        self._getters = [_getter(leaf) for leaf in self._leaves]
        #: Name of each number; of sequences it is known only once a message has come.
        self.names: tuple[str, ...] = ()
        self._learn_names = True
        if not any(_is_sequence(get(example)) for leaf, get in zip(self._leaves, self._getters, strict=True) if not _indexed(leaf)):
            self.names, self._learn_names = tuple(self._leaves), False

    def __call__(self, message: Any) -> NDArray[np.float64]:
        """The numbers (W,) of one message. Raises ValueError or IndexError for a sequence that is too short."""
        values = [get(message) for get in self._getters]
        if self._learn_names:
            self.names, self._learn_names = tuple(_names(self._leaves, values)), False
        return np.asarray([x for v in values for x in (v if _is_sequence(v) else (v,))], dtype=np.float64)


def _leaves(example: Any, path: str, key: str) -> Iterator[str]:
    """Dotted paths of the numbers below ``path``."""
    try:
        value = example if _indexed(path) else _getter(path)(example)
    except AttributeError:
        raise ConfigError(
            f"{key}: {type(example).__name__} has no field {path!r}; it has {', '.join(example.get_fields_and_field_types())}"
        ) from None
    if _indexed(path) or isinstance(value, (bool, int, float, np.number)) or (_is_sequence(value) and _holds_numbers(example, path)):
        yield path
    elif hasattr(value, "get_fields_and_field_types"):
        for name in value.get_fields_and_field_types():
            yield from _leaves(example, f"{path}.{name}", key)


def _holds_numbers(example: Any, path: str) -> bool:
    parent, _, name = path.rpartition(".")
    owner = _getter(parent)(example) if parent else example
    return re.match(r"(sequence<)?(double|float|u?int\d+|boolean|octet)\b", owner.get_fields_and_field_types()[name]) is not None


def _getter(path: str) -> Callable[[Any], Any]:
    parts = [int(part) if part.isdigit() else part for part in path.split(".")]

    def get(message: Any) -> Any:
        for part in parts:
            message = message[part] if isinstance(part, int) else getattr(message, part)
        return message

    return get


def _names(leaves: Sequence[str], values: Sequence[Any]) -> Iterator[str]:
    for leaf, value in zip(leaves, values, strict=True):
        if _is_sequence(value):
            yield from (f"{leaf}.{i}" for i in range(len(value)))
        else:
            yield leaf


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)


def _indexed(path: str) -> bool:
    return any(part.isdigit() for part in path.split("."))
