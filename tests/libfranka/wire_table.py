"""The table that is the last thing printed, and what is skipped without a server: for every folder of tests against one."""

import os

import pytest

ROWS = pytest.StashKey()


def skip_without(items, folder, variable, reason):
    if variable not in os.environ:
        for item in items:
            if folder in str(item.path):
                item.add_marker(pytest.mark.skip(reason=reason))


def rows(config):
    return config.stash.setdefault(ROWS, [])


def print_rows(terminalreporter, config):
    found = rows(config)
    if found:
        terminalreporter.write_line(f"{'on the wire':58} result")
    for what, result in found:
        terminalreporter.write_line(f"{what:58} {result}")
    found.clear()
