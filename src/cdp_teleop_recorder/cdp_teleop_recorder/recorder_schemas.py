"""What an MCAP file says of a message type, and what can be read of a message without taking it apart."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from cdp.config import ConfigError

_SEPARATOR = "=" * 80
_BUILT_IN = frozenset(
    ("bool", "byte", "char", "float32", "float64", "string", "wstring", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
)
_HEADER = "std_msgs/Header"
# A serialized message begins with four bytes, the second of which is odd for little endian; a header begins with its stamp.
_STAMP_AT = 4
_STAMP = {0: struct.Struct(">iI"), 1: struct.Struct("<iI")}
_NS_PER_S = 1_000_000_000


def message_definition(name: str, key: str) -> str:
    """The definition of ``name`` (``sensor_msgs/msg/Image``) and of every type within it, as rosbag2 and Foxglove expect it (``ros2msg``).

    Each further type, once, follows a line of 80 ``=`` and ``MSG: package/Type``. Raises :class:`cdp.config.ConfigError` with ``key`` where the
    definition of one is not installed.
    """
    package, _, kind = name.partition("/msg/")
    texts = {f"{package}/{kind}": _read(package, kind, key)}
    waiting = [f"{package}/{kind}"]
    while waiting:
        name = waiting.pop(0)
        for inner in _types(texts[name], name.partition("/")[0]):
            if inner not in texts and inner not in _BUILT_IN:
                texts[inner] = _read(inner.partition("/")[0], inner.partition("/")[2], key)
                waiting.append(inner)
    first, *others = (text.rstrip("\n") + "\n" for text in texts.values())
    return first + "".join(f"{_SEPARATOR}\nMSG: {inner}\n{text}" for inner, text in zip(list(texts)[1:], others, strict=True))


def begins_with_header(name: str, key: str) -> bool:
    """Whether the first field of a type is a header, so that :func:`header_stamp_ns` finds its stamp. Raises as :func:`message_definition`."""
    package, _, kind = name.partition("/msg/")
    return next(_types(_read(package, kind, key), package), "") == _HEADER


def header_stamp_ns(data: bytes) -> int:
    """Stamp [ns] of a serialized message (CDR) that begins with a header."""
    sec, nanosec = _STAMP[data[1] & 1].unpack_from(data, _STAMP_AT)
    return int(sec) * _NS_PER_S + int(nanosec)


def _read(package: str, kind: str, key: str) -> str:
    try:
        return (Path(get_package_share_directory(package)) / "msg" / f"{kind}.msg").read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError):
        raise ConfigError(f"{key}: the definition of {package}/msg/{kind} is not installed (share/{package}/msg/{kind}.msg)") from None


def _types(text: str, package: str) -> Iterator[str]:
    """Type of each field of a definition, without array or bound, with its package where it has one; constants are left out."""
    for line in text.splitlines():
        found = re.match(r"\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+\w+(?!\w|\s*=)", line)
        if found:
            kind = found.group(1)
            yield kind if "/" in kind or kind in _BUILT_IN else f"{package}/{kind}"
