"""Kernel, processor clock and disk of this machine, read below a root folder, so that a test can make one up."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from cdp_teleop_recorder.doctor.finding import Finding

# The kernel with PREEMPT_RT, by distribution.
_RT_KERNELS = {
    "debian": "sudo apt-get install linux-image-rt-$(dpkg --print-architecture) && sudo reboot",
    "ubuntu": "sudo pro attach && sudo pro enable realtime-kernel && sudo reboot",
}
_GOVERNOR_FIX = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
# One camera of 640x480 at 30 Hz as JPEG of 165 KB each (docs/recording.md), and the streams of numbers.
BYTES_PER_S = 5_000_000
_ENOUGH_S = 1800.0


def kernel(root: Path, drives_arm: bool) -> Iterator[Finding]:
    """PREEMPT_RT, which libfranka's 1 kHz loop asks for: without it a failure where this machine is to drive the arm."""
    version = (root / "proc/version").read_text()
    flag = root / "sys/kernel/realtime"
    if (flag.exists() and flag.read_text().strip() == "1") or "PREEMPT_RT" in version or "PREEMPT RT" in version:
        yield Finding("kernel", "ok", f"PREEMPT_RT: {_release(version)}")
        return
    text = f"{_release(version)} has no PREEMPT_RT; the 1 kHz loop to the arm will miss deadlines (communication_constraints_violation)"
    yield Finding("kernel", "fail" if drives_arm else "warn", text, _RT_KERNELS.get(_distribution(root), _RT_KERNELS["debian"]))


def governor(root: Path) -> Iterator[Finding]:
    """Whether every processor keeps its clock up."""
    found = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"))
    if not found:
        yield Finding("cpu governor", "ok", "the clock is not scaled here (no cpufreq)")
        return
    slow = {path.parent.parent.name: name for path in found if (name := path.read_text().strip()) != "performance"}
    if slow:
        names = ", ".join(sorted(set(slow.values())))
        yield Finding(
            "cpu governor", "warn", f"{names} on {len(slow)} of {len(found)} processors: the clock drops between two control cycles", _GOVERNOR_FIX
        )
    else:
        yield Finding("cpu governor", "ok", f"performance on {len(found)} processors")


def disk(
    directory: Path,
    min_free_mb: int,
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    writable: Callable[[Path], bool] = lambda path: os.access(path, os.W_OK | os.X_OK),
) -> Iterator[Finding]:
    """Room for recordings, at what one camera takes, where ``directory`` is or will be."""
    place = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    if not place.is_dir():
        yield Finding("disk", "fail", f"{place} is a file, and {directory} should be a folder", "give another folder: directory:=<folder>")
        return
    if not writable(place):
        yield Finding("disk", "fail", f"{place} cannot be written to", f"sudo chown $USER {place}")
        return
    free = free_bytes(place)
    text = f"{free / 1e9:.1f} GB free in {place}: {free / BYTES_PER_S / 60:.0f} min of one camera"
    fix = f"free some space, {directory / 'discarded'} for one, or record elsewhere: directory:=<folder>"
    if free < min_free_mb * 1_000_000:
        yield Finding("disk", "fail", f"{text}; the recorder starts no episode below {min_free_mb} MB", fix)
    elif free < _ENOUGH_S * BYTES_PER_S:
        yield Finding("disk", "warn", text, fix)
    else:
        yield Finding("disk", "ok", text)


def _release(version: str) -> str:
    return " ".join(version.split()[:3])


def _distribution(root: Path) -> str:
    try:
        lines = (root / "etc/os-release").read_text().splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("ID=").strip('"') for line in lines if line.startswith("ID=")), "")
