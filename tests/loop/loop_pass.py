"""One pass through the loop: its folders and figures, its commands, and who is still alive on its ROS domain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EPISODES = 3


@dataclass
class Loop:
    """Folders and figures of one pass through record, train and run."""

    folder: Path
    figures: list[str] = field(default_factory=list)

    @property
    def demos(self) -> Path:
        return self.folder / "demos"

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    @property
    def evaluation(self) -> Path:
        return self.folder / "eval"


def run_cdp(*arguments: object, timeout_s: float = 400.0) -> str:
    """Run `cdp ...`; its output. Fails the test with that output when the status is not 0; never leaves it running."""
    command = [sys.executable, "-m", "cdp.cli", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        pytest.fail(f"{' '.join(command)} took more than {timeout_s:.0f} s:\n{output[-4000:]}")
    assert process.returncode == 0, f"{' '.join(command)} gave {process.returncode}:\n{output[-6000:]}"
    return output


def alive_in_domain(domain: str) -> list[str]:
    """Command lines of this user's processes, but this one, whose environment puts them on the ROS domain."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if f"ROS_DOMAIN_ID={domain}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    # A zombie has no command line any more: it has ended and only waits to be reaped.
    return [line for line in found if line]
