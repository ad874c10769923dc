"""The process that stops the nodes of a launch which was itself killed.

It runs beside the launch, in a session of its own, and holds the reading end of a pipe whose writing end only the launch has. Each child writes
`+PID A B` to it before it executes its program, and the launch writes `-PID` when a child's process group is empty. End of file with groups left
means that the launch is gone: then each is sent SIGINT, SIGTERM A seconds later and SIGKILL B seconds after that, for as long as it lives.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

POLL_S = 0.05


def group_alive(group: int) -> bool:
    """Whether a process group has a member that still runs (a zombie does not)."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    for entry in os.listdir("/proc"):  # noqa: PTH208  # twenty times faster than pathlib
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue  # It ended while we looked.
            if int(fields[2]) == group and fields[0] not in "ZX":
                return True
    return False


def signal_group(group: int, number: int) -> None:
    """Signal a process group that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def stop_groups(groups: dict[int, tuple[float, float]]) -> None:
    """Stop process groups, gently first: SIGINT, after the first patience [s] SIGTERM, after the second SIGKILL."""
    began_s = time.monotonic()
    steps = {group: [(0.0, signal.SIGINT), (first, signal.SIGTERM), (first + second, signal.SIGKILL)] for group, (first, second) in groups.items()}
    while steps:
        for group, left in steps.items():
            while left and time.monotonic() - began_s >= left[0][0]:
                signal_group(group, left.pop(0)[1])
        time.sleep(POLL_S)
        # A group that outlives SIGKILL hangs in the kernel: nothing more can be done for it.
        steps = {group: left for group, left in steps.items() if left and group_alive(group)}


def watch(descriptor: int) -> None:
    """Follow the children of a launch until it ends."""
    groups: dict[int, tuple[float, float]] = {}
    rest = b""
    while chunk := os.read(descriptor, 4096):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            group, *patience = line[1:].split()
            if line.startswith(b"+"):
                groups[int(group)] = (float(patience[0]), float(patience[1]))
            else:
                groups.pop(int(group), None)
    stop_groups(groups)


def main() -> None:
    """Run as the guardian, on standard input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(0)


if __name__ == "__main__":
    main()
