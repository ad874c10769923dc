"""A workspace of small programs and launch files, and a way to run them through the real command `ros2`.

Everything that both launch systems promise runs unchanged against a genuine ROS 2 where one imports; what only the subset promises is skipped there.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

DEADLINE_S = 20.0

PROBE = """\
#!{python} -IS
import json, os, pathlib, signal, subprocess, sys, time

directory = pathlib.Path(os.environ["PROBE_DIR"])
words = sys.argv[1:]
mode = words[0] if words and not words[0].startswith("-") else "note"
files = [words[i + 1] for i, word in enumerate(words) if word == "--params-file"]
note = {{
    "pid": os.getpid(), "argv": words, "env": dict(os.environ), "cwd": os.getcwd(),
    "files": files, "texts": [pathlib.Path(f).read_text() for f in files],
}}
if mode == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif mode == "deaf":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
elif mode in ("polite", "parent"):
    signal.signal(signal.SIGINT, lambda *_: (print("saved", flush=True), sys.exit(0)))
if mode == "parent":
    note["grandchild"] = subprocess.Popen(["sleep", "600"]).pid
made = directory / f"{{os.getpid()}}.tmp"
made.write_text(json.dumps(note))
number = 0
while True:
    try:
        os.link(made, directory / f"{{number}}.json")
        break
    except FileExistsError:
        number += 1
made.unlink()
print("out of", mode, flush=True)
print("err of", mode, file=sys.stderr, flush=True)
if mode == "tty":
    print("tty", sys.stdout.isatty(), flush=True)
if mode == "exit":
    sys.exit(int(words[1]))
if mode not in ("note", "tty"):
    while True:
        time.sleep(600)
"""


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition with a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"within {DEADLINE_S} s: {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Workspace:
    """A prefix with one package `probe_pkg`, whose executable `probe` notes what it was started with."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notes = root / "notes"
        self.share = root / "prefix/share/probe_pkg"
        self.probe = root / "prefix/lib/probe_pkg/probe"
        index = root / "prefix/share/ament_index/resource_index/packages"
        for directory in (self.notes, self.share / "launch", self.probe.parent, index, root / "log"):
            directory.mkdir(parents=True)
        (index / "probe_pkg").write_text("")
        self.probe.write_text(PROBE.format(python=sys.executable))
        self.probe.chmod(0o755)
        self.env = {
            **os.environ,
            "PROBE_DIR": str(self.notes),
            "ROS_LOG_DIR": str(root / "log"),
            "AMENT_PREFIX_PATH": f"{root / 'prefix'}:{os.environ.get('AMENT_PREFIX_PATH', '')}",
        }
        self.started: list[subprocess.Popen[str]] = []

    def launch_file(self, body: str, name: str = "it.launch.py", imports: str = "") -> Path:
        """Write a launch file whose description is the list that `body` holds."""
        path = self.share / "launch" / name
        path.write_text(
            textwrap.dedent("""\
                from launch import LaunchDescription
                from launch.actions import *
                from launch.conditions import *
                from launch.event_handlers import *
                from launch.launch_description_sources import *
                from launch.substitutions import *
                from launch_ros.actions import *
                from launch_ros.parameter_descriptions import *
                from launch_ros.substitutions import *
                from launch.events import Shutdown as ShutdownEvent
            """)
            + textwrap.dedent(imports)
            + f"\n\ndef probe(*words, **options):\n    return ExecuteProcess(cmd=[{str(self.probe)!r}, *words], **options)\n"
            + f"\n\ndef generate_launch_description():\n    return LaunchDescription([{body}])\n"
        )
        return path

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start `ros2 ...`."""
        process = subprocess.Popen(
            ["ros2", *map(str, words)], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.started.append(process)
        return process

    def run(self, *words: str | Path) -> tuple[int, str]:
        """Run `ros2 ...` to its end and return status and output."""
        process = self.start(*words)
        output, _ = process.communicate(timeout=DEADLINE_S)
        return process.returncode, output

    def note(self, number: int = 0) -> dict:
        """What the numberth probe noted, once it has."""
        path = self.notes / f"{number}.json"
        wait_until(path.exists, f"probe {number} has started")
        return json.loads(path.read_text())

    def clean_up(self) -> None:
        """Stop whatever a failed test has left."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()
        for path in self.notes.glob("*.json"):
            note = json.loads(path.read_text())
            for pid in (note["pid"], note.get("grandchild", 0)):
                if pid and alive(pid):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def ws(tmp_path: Path):
    """A workspace of its own for each test."""
    workspace = Workspace(tmp_path)
    yield workspace
    workspace.clean_up()


@pytest.fixture
def subset_only() -> None:
    """Skip where the genuine launch imports: it does not promise this."""
    import launch

    if not hasattr(launch, "actions") or "cdp_ros2" not in str(launch.__file__):
        pytest.skip("the genuine launch does not promise this")


@pytest.fixture
def wait():
    """The waiting function."""
    return wait_until


@pytest.fixture
def is_alive():
    """Whether a process runs."""
    return alive
