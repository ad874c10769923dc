"""`cdp data view`: a contact sheet in HTML, and a Rerun recording where asked for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cdp.data.commands import fail, say

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(commands: SubParsers) -> None:
    """Add `view`."""
    parser = commands.add_parser("view", help="a page with videos, plots and verdicts; or a Rerun recording")
    parser.add_argument("file", type=Path, help="file of demonstrations")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the page to write; with --rerun a file, e.g. demos.rrd")
    parser.add_argument("--first", type=int, default=None, metavar="N", help="the first N demonstrations only")
    parser.add_argument("--rerun", action="store_true", help="a Rerun recording instead of a page")
    parser.set_defaults(run=run_view)


def run_view(arguments: argparse.Namespace) -> int:
    """Show; 0 where something was written."""
    from cdp.data.demos import DataError
    from cdp.data.view.recording import rerun_recording
    from cdp.data.view.sheet import contact_sheet

    try:
        if arguments.rerun:
            count = rerun_recording(arguments.file, arguments.out, arguments.first)
        else:
            count = contact_sheet(arguments.file, arguments.out, arguments.first)
    except DataError as error:
        return fail(str(error))
    say(f"{arguments.out if arguments.rerun else arguments.out / 'index.html'}: {count} demonstrations")
    return 0
