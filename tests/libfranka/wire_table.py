"""The table that is the last thing printed, and what is skipped without a server: for every folder of tests against one."""

import os

import pytest
from host_steal import HostWatch

ROWS, HOST = pytest.StashKey(), pytest.StashKey()


def skip_without(items, folder, variable, reason):
    if variable not in os.environ:
        for item in items:
            if folder in str(item.path):
                item.add_marker(pytest.mark.skip(reason=reason))


def rows(config):
    if HOST not in config.stash:
        config.stash[HOST] = HostWatch()
    return config.stash.setdefault(ROWS, [])


def print_rows(terminalreporter, config):
    found = config.stash.get(ROWS, [])
    if not found:
        return
    terminalreporter.write_line(f"{'on the wire':58} result")
    for what, result in [*found, ("kept by the host of this machine, meanwhile", config.stash[HOST].end())]:
        terminalreporter.write_line(f"{what:58} {result}")
    found.clear()
