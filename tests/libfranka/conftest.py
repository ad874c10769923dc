"""One server and one stack for all that is done to them on the wire; the table of what it came to is the last thing printed."""

import os

import pytest

ROWS = pytest.StashKey()


def pytest_collection_modifyitems(items):
    if "CDP_FRANKA_SIM" not in os.environ:
        for item in items:
            if "tests/libfranka" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="needs franka-sim: make check-libfranka"))


@pytest.fixture
def table(request):
    return request.config.stash.setdefault(ROWS, [])


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.write_line(f"{'on the wire':58} result")
    for what, result in rows:
        terminalreporter.write_line(f"{what:58} {result}")
