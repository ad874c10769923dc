"""What the system lets this user do: real-time priorities, locked memory, the group that grants both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cdp_teleop_recorder.doctor.finding import Finding, Verdict

GROUP = "realtime"
# franka_ros2's controller manager asks for 98, libfranka for the highest there is, our guard for 20.
_ARM_PRIORITY, _GUARD_PRIORITY = 99, 20
_SYS_NICE, _IPC_LOCK = 23, 14  # bits of capabilities(7)
FIX = (
    f"sudo groupadd -f {GROUP} && sudo usermod -aG {GROUP} $USER\n"
    f"printf '@{GROUP} - rtprio 99\\n@{GROUP} - memlock unlimited\\n' | sudo tee /etc/security/limits.d/99-{GROUP}.conf\n"
    "then log out and in again; in a container: --cap-add SYS_NICE --ulimit rtprio=99 --ulimit memlock=-1"
)
UNLIMITED = -1


@dataclass(frozen=True)
class Limits:
    """Soft limits of this process, ``UNLIMITED`` for none: the highest real-time priority, and the memory that it may lock [bytes]."""

    rtprio: int
    memlock: int


def limits() -> Limits:
    """Of this process."""
    import resource

    return Limits(resource.getrlimit(resource.RLIMIT_RTPRIO)[0], resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])


def groups() -> tuple[set[str], set[str]]:
    """Names of the groups of this process, and of those that the system's files give this user from the next login on."""
    import getpass
    import grp
    import os

    of_process = {entry.gr_name for entry in grp.getgrall() if entry.gr_gid in os.getgroups()}
    return of_process, {entry.gr_name for entry in grp.getgrall() if getpass.getuser() in entry.gr_mem}


def rights(root: Path, given: Limits, member_now: set[str], member_next: set[str], drives_arm: bool) -> Iterator[Finding]:
    """Findings on priorities, memory and the group; what is missing is a failure where this machine is to drive the arm."""
    capable = _capabilities(root)
    bad: Verdict = "fail" if drives_arm else "warn"
    fix = FIX if GROUP not in member_next - member_now else f"you are in the group {GROUP} from the next login on: log out and in again"
    priority = _ARM_PRIORITY if given.rtprio == UNLIMITED or capable >> _SYS_NICE & 1 else given.rtprio
    if priority >= _ARM_PRIORITY:
        yield Finding("rtprio", "ok", "real-time priorities up to 99")
    elif priority >= _GUARD_PRIORITY:
        yield Finding("rtprio", bad, f"real-time priorities up to {priority}: enough for the guard, not for the arm's 1 kHz loop (98 and 99)", fix)
    else:
        yield Finding("rtprio", bad, f"no real-time priority above {priority}: guard and driver run like any other process", fix)
    if given.memlock == UNLIMITED or capable >> _IPC_LOCK & 1:
        yield Finding("memlock", "ok", "memory can be locked without limit")
    else:
        yield Finding("memlock", bad, f"only {given.memlock // 1024} KB of memory can be locked: a page fault stalls the 1 kHz loop", fix)
    sufficient = priority >= _ARM_PRIORITY
    if GROUP in member_now:
        yield Finding("realtime group", "ok", f"member of {GROUP}")
    elif sufficient:
        yield Finding("realtime group", "ok", f"not a member of {GROUP}, and not in need of it")
    else:
        yield Finding("realtime group", "warn", f"not a member of {GROUP}", fix)


def _capabilities(root: Path) -> int:
    """Effective capabilities of this process."""
    for line in (root / "proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
