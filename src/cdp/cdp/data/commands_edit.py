"""`cdp data split`, `merge` and `trim`: each writes a new file, whole or not at all."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cdp.data.commands import fail, say

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(commands: SubParsers) -> None:
    """Add the commands that change files."""
    parser = commands.add_parser("split", help="draw anew which demonstrations train and which validate")
    parser.add_argument("file", type=Path, help="file of demonstrations")
    parser.add_argument("-o", "--out", type=Path, default=None, help="file to write (default: the same)")
    parser.add_argument("--valid-fraction", type=float, default=0.1, help="share that validates (default 0.1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default 0)")
    parser.add_argument("--by", choices=("operator", "date", "task", "seed"), default=None, help="hold out whole groups, never part of one")
    parser.add_argument("--hold", action="append", default=[], metavar="GROUP", help="this group validates, e.g. an operator's name or 2026-03-14")
    parser.set_defaults(run=run_split)

    parser = commands.add_parser("merge", help="several files in one; or one that links to its parts, as a single file")
    parser.add_argument("files", type=Path, nargs="+", help="files of demonstrations")
    parser.add_argument("-o", "--out", type=Path, required=True, help="file to write")
    parser.set_defaults(run=run_merge)

    parser = commands.add_parser("trim", help="take idle rows off both ends of every demonstration")
    parser.add_argument("file", type=Path, help="file of demonstrations")
    parser.add_argument("-o", "--out", type=Path, required=True, help="file to write")
    parser.add_argument("--position", type=float, default=0.001, help="idle: within this of the end's pose [m] (default 0.001)")
    parser.add_argument("--rotation", type=float, default=0.01, help="idle: within this of the end's pose [rad] (default 0.01)")
    parser.add_argument("--gripper", type=float, default=0.02, help="idle: within this of the end's gripper command (default 0.02)")
    parser.add_argument("--margin", type=int, default=1, help="idle rows to keep on each side (default 1)")
    parser.set_defaults(run=run_trim)


def run_split(arguments: argparse.Namespace) -> int:
    """Draw the masks anew."""
    from cdp.data.demos import DataError
    from cdp.data.split import split

    if arguments.hold and arguments.by is None:
        return fail("--hold names a group: say --by operator, date, task or seed too")
    out = arguments.out or arguments.file
    try:
        masks = split(arguments.file, out, arguments.valid_fraction, arguments.seed, arguments.by, arguments.hold)
    except DataError as error:
        return fail(str(error))
    say(f"{out}: {len(masks['train'])} demonstrations train, {len(masks['valid'])} validate")
    return 0


def run_merge(arguments: argparse.Namespace) -> int:
    """Merge files."""
    from cdp.data.demos import DataError
    from cdp.data.merge import merge

    try:
        report = merge(arguments.files, arguments.out)
    except DataError as error:
        return fail(str(error))
    if report.rescaled:
        say("actions were brought to one action_scale; the absolute actions are unchanged")
    say(f"{report.path}: {report.demos} demonstrations, {report.rows} rows")
    return 0


def run_trim(arguments: argparse.Namespace) -> int:
    """Trim idle ends."""
    from cdp.config import ConfigError, from_mapping
    from cdp.data.demos import DataError
    from cdp.data.trim import IdleRule, trim

    names = {"position_m": arguments.position, "rotation_rad": arguments.rotation, "gripper": arguments.gripper, "margin_rows": arguments.margin}
    try:
        report = trim(arguments.file, arguments.out, from_mapping(IdleRule, names))
    except (DataError, ConfigError) as error:
        return fail(str(error))
    for name, (start, end) in report.taken.items():
        say(f"{name}: {start} rows off its start, {end} off its end")
    for name in report.left_out:
        say(f"{name}: idle throughout, left out")
    rows = sum(sum(ends) for ends in report.taken.values())
    say(f"{report.path}: {report.demos} demonstrations, {report.rows} rows; {rows} idle rows taken off {len(report.taken)}")
    return 0
