"""What the tests of this package share: one stack for all faults, each leaves it running, and what every fault came to is the last thing printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import robot_interfaces
from fault_stack import FaultStack, Hold

HOLDS = pytest.StashKey[list]()


@pytest.fixture(scope="module")
def stack(tiny_bundle: Path) -> Iterator[FaultStack]:
    made = FaultStack(tiny_bundle)
    yield made
    made.close()


@pytest.fixture
def holds(request: pytest.FixtureRequest) -> list[Hold]:
    return request.config.stash.setdefault(HOLDS, [])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the robot's interface packages is long: where they are not installed, building them takes a minute."""
    for item in items:
        servo = str(getattr(getattr(item, "callspec", None), "params", {}).get("controller", "")).startswith("servo")
        if servo or "robot_environment" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def robot_environment() -> dict[str, str]:
    """franka_msgs, moveit_msgs and controller_manager_msgs can be imported; the environment for child processes that need them too."""
    return robot_interfaces.environment()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for hold in config.stash.get(HOLDS, []):
        terminalreporter.write_line(
            f"{hold.fault:34} held {1e3 * hold.after_s:6.0f} ms after the last sign of life; stated {1e3 * hold.stated_s:4.0f} ms, "
            f"guard's slowest tick {1e3 * hold.late_s:4.0f} ms; {hold.message}"
        )
