"""The guard's place among the machine's processes: real-time scheduling where it is permitted, a better nice value where only that is."""

from __future__ import annotations

import os
from pathlib import Path

_NICE = -10
_FIX = (
    "allow it by a line `<user> - rtprio 50` (and `<user> - nice -10`) in /etc/security/limits.d/guard.conf and a new login, "
    "or in a container by --cap-add SYS_NICE --ulimit rtprio=50; realtime_priority 0 asks for neither"
)


def ask_for_priority(priority: int) -> tuple[bool, str]:
    """Put all threads of this process under SCHED_FIFO at ``priority`` (1..99); 0 leaves them alone.

    Returns whether that was granted, and what to say. What is refused changes nothing: the guard runs as an ordinary process.
    """
    if priority == 0:
        return True, "ordinary scheduling, as asked for"
    try:
        for thread in _threads():
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as refusal:
        return False, f"SCHED_FIFO is refused ({refusal.strerror}), {_nicer()}; {_FIX}"
    return True, f"SCHED_FIFO at priority {priority}"


def _threads() -> list[int]:
    return [int(path.name) for path in Path("/proc/self/task").iterdir()]


def _nicer() -> str:
    try:
        for thread in _threads():
            os.setpriority(os.PRIO_PROCESS, thread, _NICE)
    except OSError as refusal:
        return f"a nice value of {_NICE} too ({refusal.strerror}): the guard shares the processor with every other process"
    return f"a nice value of {_NICE} is granted: the guard goes before ordinary processes, without a guarantee"
