"""Shared memory that Fast DDS's nodes left behind when they were killed: it is not given back before somebody removes it, or the next boot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from cdp_teleop_recorder.doctor.finding import Finding

# A participant's segment with config/fastdds.xml is 35 MB; a few of them matter nowhere.
_LITTLE_BYTES = 100_000_000
_PREFIX, _LOCK = "fastrtps_", "_el"
_REMOVE = "rm -f /dev/shm/*fastrtps_*"


def shared_memory(root: Path, user: int | None = None, installed: Callable[[str], str | None] = shutil.which) -> Iterator[Finding]:
    """Count and size of the segments below ``root``/dev/shm that no process maps. ``user``: whose are looked at (default: this user's; root's: all).

    Processes of other users cannot be looked into, and so neither can it be said whether a segment of theirs is in use.
    """
    asks = os.getuid() if user is None else user
    files = [path for path in sorted((root / "dev/shm").glob(f"{_PREFIX}*")) if not path.name.endswith(_LOCK)]
    mapped = _mapped(root)
    used = left = count = 0
    for path in files:
        try:
            status = path.stat()
        except OSError:
            continue
        if path.name in mapped:
            used += 1
        elif asks in (0, status.st_uid):
            left, count = left + status.st_size, count + 1
    text = f"{used} segments of Fast DDS in use"
    if not count:
        yield Finding("shared memory", "ok", f"{text}, none left behind")
        return
    text += f", {count} left behind by nodes that were killed: {left / 1e6:.0f} MB"
    if left < _LITTLE_BYTES:
        yield Finding("shared memory", "ok", text)
        return
    fix = "fastdds shm clean" if installed("fastdds") else f"end every node of this machine, then: {_REMOVE}"
    yield Finding("shared memory", "warn", f"{text} of memory, which only their removal or a restart gives back", fix)


def _mapped(root: Path) -> set[str]:
    """Names of the segments that a process maps, of those processes that may be looked into."""
    names: set[str] = set()
    for maps in (root / "proc").glob("[0-9]*/maps"):
        try:
            lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        names |= {line.rsplit("/", 1)[1] for line in lines if f"/dev/shm/{_PREFIX}" in line}
    return names
