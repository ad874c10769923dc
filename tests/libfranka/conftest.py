"""One server and one stack for all that is done to them on the wire; the table of what it came to is the last thing printed."""

import pytest
from wire_table import print_rows, rows, skip_without


def pytest_collection_modifyitems(items):
    skip_without(items, "tests/libfranka", "CDP_FRANKA_SIM", "needs franka-sim: make check-libfranka")


@pytest.fixture
def table(request):
    return rows(request.config)


def pytest_terminal_summary(terminalreporter, config):
    print_rows(terminalreporter, config)
