"""One recording, one training and one run, shared by the checks of the loop; their figures are the last line of the report."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest
from cdp_ros.domain import own_domain
from loop_pass import EPISODES, Loop, run_cdp

FIGURES = pytest.StashKey[list]()


@pytest.fixture(scope="session")
def domain() -> Iterator[str]:
    """A ROS domain of this run's own, in the environment of everything it starts."""
    before, own = os.environ.get("ROS_DOMAIN_ID"), str(own_domain())
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
