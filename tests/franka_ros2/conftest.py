"""One server and one bring-up for all that is done to them; the table of what it came to is the last thing printed."""

import pytest
from wire_table import print_rows, rows, skip_without


def pytest_collection_modifyitems(items):
    skip_without(items, "tests/franka_ros2", "CDP_CHECK_FRANKA_ROS2", "needs franka_ros2 and franka-sim: make check-franka-ros2")


@pytest.fixture
def table(request):
    return rows(request.config)


def pytest_terminal_summary(terminalreporter, config):
    print_rows(terminalreporter, config)
