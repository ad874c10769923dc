"""Typed configurations: a dataclass and a mapping in, a checked instance or a named mistake out.

A field says what it allows in its metadata, through :func:`setting`::

    @dataclass(frozen=True)
    class Optimiser:
        learning_rate: float = setting(1e-4, low=0.0, high=1.0, help="peak learning rate")

    from_mapping(Optimiser, {"learning_rate": 3})
    # ConfigError: learning_rate: 3 is outside [0.0, 1.0]
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration value that is refused; the message names the key, the value and what is allowed."""


def setting(
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[Any] | None = None,
    help: str = "",
) -> Any:
    """Dataclass field with the closed range ``[low, high]`` or the closed set ``choices`` that its value (or each element) must lie in."""
    metadata = {"low": low, "high": high, "choices": tuple(choices) if choices is not None else None, "help": help}
    if isinstance(default, (list, dict, set)):
        raise TypeError("a mutable default needs a tuple or a nested dataclass instead")
    return dataclasses.field(default=default, metadata=metadata)


def from_mapping(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Build the dataclass ``cls`` from ``data``.

    ``where`` prefixes the key in messages, e.g. ``"train."``. Raises :class:`ConfigError` for an unknown key, a missing key, a wrong type or a
    value outside its range.
    """
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls!r} is not a dataclass")
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where.rstrip('.') or 'configuration'}: {data!r} is not a mapping of keys to values")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ConfigError(f"{where}{unknown[0]}: unknown key; allowed here: {', '.join(fields)}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _convert(data[name], hints[name], f"{where}{name}")
            _check_range(values[name], field.metadata, f"{where}{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}{name}: missing; it has no default")
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from None


def load(cls: type[T], path: str | Path, overrides: Iterable[tuple[str, Any]] = ()) -> T:
    """Read the YAML file ``path`` into ``cls``, with pairs of a dotted key and a value over it.

    Raises :class:`ConfigError`, its message led by the path.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    try:
        data = data if data is not None else {}
        for key, value in overrides:
            data = _with(data, key.split("."), value, key)
        return from_mapping(cls, data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _with(data: Any, parts: list[str], value: Any, key: str) -> dict[str, Any]:
    """A copy of ``data`` with ``value`` at the nested key ``parts``."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{key}: what holds {parts[0]} is not a group of settings")
    if len(parts) > 1:
        value = _with(data.get(parts[0], {}), parts[1:], value, key)
    return {**data, parts[0]: value}


def to_mapping(config: Any) -> dict[str, Any]:
    """Plain dicts, lists and scalars of a configuration, complete with its defaults: ``from_mapping`` gives back an equal instance."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config) if f.init}


def dump(config: Any, path: str | Path) -> None:
    """Write ``config`` as YAML, keys in the order of their declaration."""
    Path(path).write_text(yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _convert(value: Any, hint: Any, key: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, args, key)
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{key}: {value!r} is not one of {', '.join(map(repr, args))}")
        return value
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, typing.cast(type, hint)) else from_mapping(typing.cast(type, hint), value, f"{key}.")
    if origin in (tuple, list):
        return _convert_sequence(value, origin, args, key)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key}: {value!r} is not a mapping")
        return {_convert(k, args[0], key): _convert(v, args[1], f"{key}.{k}") for k, v in value.items()}
    return _convert_scalar(value, hint, key)


def _convert_union(value: Any, args: tuple[Any, ...], key: str) -> Any:
    if value is None and type(None) in args:
        return None
    members = tuple(arg for arg in args if arg is not type(None))
    if all(_kinds(member) for member in members) and not isinstance(value, members):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key}: {value!r} is not a mapping of keys to values, kind one of {_known_kinds(members)}")
        return from_mapping(chosen_by_kind(members, value, f"{key}."), value, f"{key}.")
    errors = []
    for arg in args:
        if arg is type(None):
            continue
        try:
            return _convert(value, arg, key)
        except ConfigError as error:
            errors.append(str(error))
    raise ConfigError(errors[0])


def chosen_by_kind(members: Sequence[type[T]], data: Mapping[str, Any], where: str = "") -> type[T]:
    """The dataclass of ``members`` whose field ``kind`` allows ``data["kind"]``; the first one where ``data`` has no kind.

    Raises :class:`ConfigError`, ``where`` leading the key in its message, for a kind that none allows.
    """
    if "kind" not in data:
        return members[0]
    for member in members:
        if data["kind"] in _kinds(member):
            return member
    raise ConfigError(f"{where}kind: {data['kind']!r} is not one of {_known_kinds(members)}")


def _known_kinds(members: Sequence[Any]) -> str:
    return ", ".join(repr(kind) for member in members for kind in _kinds(member))


def _kinds(hint: Any) -> tuple[Any, ...]:
    """Choices of a dataclass's field ``kind``; none for anything else."""
    fields = dataclasses.fields(hint) if dataclasses.is_dataclass(hint) else ()
    return next((tuple(f.metadata.get("choices") or ()) for f in fields if f.name == "kind"), ())


def _convert_sequence(value: Any, origin: type, args: tuple[Any, ...], key: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{key}: {value!r} is not a list")
    fixed = origin is tuple and not (len(args) == 2 and args[1] is Ellipsis)
    if fixed and len(value) != len(args):
        raise ConfigError(f"{key}: {list(value)!r} has {len(value)} elements, needs {len(args)}")
    hints = args if fixed else (args[0],) * len(value)
    return origin(_convert(v, h, f"{key}[{i}]") for i, (v, h) in enumerate(zip(value, hints, strict=True)))


def _convert_scalar(value: Any, hint: Any, key: str) -> Any:
    if hint is Any:
        return value
    if hint is Path:
        if not isinstance(value, (str, Path)):
            raise ConfigError(f"{key}: {value!r} is not a path")
        return Path(value)
    if hint is float:
        # YAML reads 1e-4 as a string; a number a person wrote is a number.
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise ConfigError(f"{key}: {value!r} is not a number") from None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{key}: {value!r} is not a number")
        if not math.isfinite(value):
            raise ConfigError(f"{key}: {value!r} is not finite")
        return float(value)
    if hint is int and isinstance(value, bool):
        raise ConfigError(f"{key}: {value!r} is not a whole number")
    if not isinstance(value, hint):
        names = {int: "a whole number", str: "a text", bool: "true or false"}
        raise ConfigError(f"{key}: {value!r} is not {names.get(hint, getattr(hint, '__name__', hint))}")
    return value


def _check_range(value: Any, metadata: Mapping[str, Any], key: str) -> None:
    if value is None or not metadata:
        return
    if isinstance(value, (list, tuple)):
        for i, element in enumerate(value):
            _check_range(element, metadata, f"{key}[{i}]")
        return
    choices, low, high = metadata.get("choices"), metadata.get("low"), metadata.get("high")
    if choices is not None and value not in choices:
        raise ConfigError(f"{key}: {value!r} is not one of {', '.join(map(repr, choices))}")
    if (low is not None and value < low) or (high is not None and value > high):
        raise ConfigError(f"{key}: {value!r} is outside [{'-inf' if low is None else low}, {'inf' if high is None else high}]")
