"""One recording, one training and one run, shared by the checks of the loop; their figures are the last line of the report."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EPISODES = 3
FIGURES = pytest.StashKey[list]()


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


@pytest.fixture(scope="session")
def domain() -> Iterator[str]:
    """A ROS domain of this run's own, in the environment of everything it starts."""
    before, own = os.environ.get("ROS_DOMAIN_ID"), str(random.SystemRandom().randint(1, 100))
    os.environ["ROS_DOMAIN_ID"] = own
    yield own
    if before is None:
        del os.environ["ROS_DOMAIN_ID"]
    else:
        os.environ["ROS_DOMAIN_ID"] = before


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, domain: str) -> Loop:
    made = Loop(tmp_path_factory.mktemp("loop"))
    request.config.stash[FIGURES] = made.figures
    return made


@pytest.fixture(scope="session")
def recorded(loop: Loop) -> Loop:
    """Three demonstrations recorded through simulator, scripted operator, teleop, guard and recorder."""
    start = time.monotonic()
    run_cdp("demos", "--episodes", EPISODES, "--seed", 0, "--out", loop.demos)
    results = json.loads((loop.demos / "results.json").read_text())
    loop.figures.append(f"recorded {results['successes']} of {results['trials']} episodes in {time.monotonic() - start:.0f} s")
    return loop


@pytest.fixture(scope="session")
def trained(recorded: Loop) -> Loop:
    """A tiny policy, fitted for a few hundred steps."""
    start = time.monotonic()
    run_cdp("train", "config/train/slide_tiny.yaml", "--dataset", recorded.demos / "demos.hdf5", "--output", recorded.bundle)
    recorded.figures.append(f"trained in {time.monotonic() - start:.0f} s")
    return recorded


@pytest.fixture(scope="session")
def evaluated(trained: Loop) -> Loop:
    """One episode of that policy through the nodes, in lock-step; a tiny policy need not succeed."""
    start = time.monotonic()
    run_cdp("eval", trained.bundle, "--episodes", 1, "--seed", 100_000, "--lockstep", "--timeout-s", 8, "--out", trained.evaluation)
    trained.figures.append(f"ran one episode in {time.monotonic() - start:.0f} s")
    return trained


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.write_line(f"loop: {', '.join(figures)}")


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
