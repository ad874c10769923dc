"""One server of franky-sim for each scene; the table of what it came to is the last thing printed."""

import pytest
from wire_table import print_rows, rows, skip_without


def pytest_collection_modifyitems(items):
    skip_without(items, "tests/franky", "CDP_FRANKY_SIM", "needs franky-sim: make check-franky")


@pytest.fixture
def table(request):
    return rows(request.config)


@pytest.fixture(scope="module")
def scene(request, tmp_path_factory):
    """The server with the scene that the module names, SCENE."""
    from franky_stack import Scene

    made = Scene(tmp_path_factory.mktemp(request.module.SCENE), request.module.SCENE)
    made.start()
    yield made
    made.stop()


def pytest_terminal_summary(terminalreporter, config):
    print_rows(terminalreporter, config)
