"""`cdp data`: collects, describes, checks, edits, converts and shows demonstrations."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = """examples:
  cdp data collect data/episodes -o data/slide.hdf5                  images as the camera took them
  cdp data collect data/episodes -o data/slide.hdf5 --links          a file a demonstration, and an index: only what is new is made
  cdp data recover data/episodes                                     finish episodes whose recorder was killed
  cdp data info data/slide.hdf5
  cdp data validate data/slide.hdf5
  cdp data stats data/slide.hdf5 --split train
  cdp data split data/slide.hdf5 --by operator --hold anna           anna's demonstrations validate
  cdp data merge monday.hdf5 tuesday.hdf5 -o week.hdf5
  cdp data trim data/slide.hdf5 -o data/slide_trimmed.hdf5
  cdp data convert data/slide.hdf5 --to lerobot -o data/slide_lerobot
  cdp data convert lift/ph/image.hdf5 --from robomimic -o data/lift.hdf5
  cdp data view data/slide.hdf5 -o runs/view                         open runs/view/index.html
"""


def register(subparsers: SubParsers) -> None:
    """Add `data` to the `cdp` command; each command sets ``run``, a function of the parsed arguments that returns the exit code."""
    from cdp.data import commands_convert, commands_edit, commands_view

    parser = subparsers.add_parser(
        "data", help="collect, describe and check demonstrations", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="data_command", required=True)
    _register_collect(commands)
    _register_recover(commands)
    info = _add(commands, "info", run_info, "describe a file of demonstrations")
    info.add_argument("--json", action="store_true", help="as JSON")
    validate = _add(commands, "validate", run_validate, "check a file against the rules of its layout")
    validate.add_argument("--camera", action="append", help="pictures that each demonstration must have (default agentview_image)")
    validate.add_argument("--no-camera", action="store_true", help="demonstrations need no pictures")
    validate.add_argument("--rules", action="store_true", help="list the rules too")
    stats = _add(commands, "stats", run_stats, "ranges, means and percentiles of every array")
    stats.add_argument("--split", default=None, help="of one mask only, e.g. train")
    stats.add_argument("--json", action="store_true", help="as JSON")
    commands_edit.register(commands)
    commands_convert.register(commands)
    commands_view.register(commands)


def _add(commands: SubParsers, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text)
    parser.add_argument("file", type=Path, help="file of demonstrations")
    parser.set_defaults(run=run)
    return parser


def _register_collect(commands: SubParsers) -> None:
    parser = commands.add_parser("collect", help="collect recorded episodes into a file of demonstrations")
    parser.add_argument("episodes", type=Path, help="folder of episodes")
    parser.add_argument("-o", "--out", type=Path, required=True, help="file to write, e.g. data/slide.hdf5")
    parser.add_argument("--image-size", type=int, default=None, help="side of the stored images [px] (default: as the camera took them)")
    parser.add_argument("--valid-fraction", type=float, default=0.1, help="part of the demonstrations kept for validation (default 0.1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split (default 0)")
    parser.add_argument("--rate", type=float, default=10.0, help="rows per second, the policy rate [Hz] (default 10)")
    parser.add_argument("--camera-rate", type=float, default=30.0, help="nominal rate of the camera [Hz] (default 30)")
    parser.add_argument("--also", nargs="+", default=[], metavar="STREAM", help="further streams of the episodes to put into obs/")
    parser.add_argument("--include-failures", action="store_true", help="also episodes that are not labelled as a success")
    parser.add_argument("--links", action="store_true", help="one file a demonstration in <out>.parts/, <out> an index of links")
    parser.set_defaults(run=run_collect)


def _register_recover(commands: SubParsers) -> None:
    parser = commands.add_parser("recover", help="finish the episodes whose recorder was killed, up to what it had written")
    parser.add_argument("episodes", type=Path, help="folder of episodes")
    parser.set_defaults(run=run_recover)


def run_recover(arguments: argparse.Namespace) -> int:
    """Recover; 0 where nothing is left over but what is being recorded now."""
    from cdp.data.mcap_recover import recover_mcaps
    from cdp.data.recover import recover

    if not arguments.episodes.is_dir():
        return fail(f"{arguments.episodes}: no such folder of episodes")
    results, raw = recover(arguments.episodes), recover_mcaps(arguments.episodes)
    for result in [*results, *raw]:
        say(result.message)
    say(f"{arguments.episodes}: {sum(result.path is not None for result in results)} episodes finished, {len(results)} journals looked at")
    return 0 if all(result.done or result.busy for result in [*results, *raw]) else 1


def run_collect(arguments: argparse.Namespace) -> int:
    """Collect; 0 where at least one demonstration was written."""
    from cdp.config import ConfigError, from_mapping
    from cdp.data.collect import CollectError, collect
    from cdp.data.spec import ObservationSpec

    try:
        spec = from_mapping(ObservationSpec, {"rate_hz": arguments.rate, "camera_rate_hz": arguments.camera_rate})
        report = collect(
            arguments.episodes,
            arguments.out,
            spec,
            image_size=arguments.image_size,
            valid_fraction=arguments.valid_fraction,
            seed=arguments.seed,
            include_failures=arguments.include_failures,
            links=arguments.links,
            also=arguments.also,
        )
    except (CollectError, ConfigError) as error:
        return fail(str(error))
    for path, reason in report.rejected:
        say(f"rejected {path.name}: {reason}")
    for path in report.unfinished:
        say(f"unfinished {path.name}: being recorded now, or left behind by a recorder that was killed; skipped (cdp data recover)")
    reused = f", {report.reused} of them made before" if arguments.links else ""
    say(f"{report.path}: {report.demos} demonstrations{reused}, {report.rows} rows, {len(report.rejected)} episodes rejected")
    return 0


def run_info(arguments: argparse.Namespace) -> int:
    """Describe a file of demonstrations."""
    from cdp.data.demos import DataError
    from cdp.data.info import describe, summary

    try:
        lines = [json.dumps(summary(arguments.file), indent=2)] if arguments.json else describe(arguments.file)
    except (DataError, OSError, KeyError, ValueError) as error:
        return fail(str(error))
    for line in lines:
        say(line)
    return 0


def run_validate(arguments: argparse.Namespace) -> int:
    """Check a file of demonstrations; 0 where nothing is wrong."""
    from cdp.data.validate import CAMERAS, RULES, validate

    if arguments.rules:
        for rule in RULES:
            say(f"rule {rule.name}: {rule.text}")
    findings = validate(arguments.file, () if arguments.no_camera else arguments.camera or CAMERAS)
    for finding in findings:
        say(finding)
    say(f"{arguments.file}: {f'{len(findings)} findings' if findings else 'valid'}")
    return 1 if findings else 0


def run_stats(arguments: argparse.Namespace) -> int:
    """Statistics of a file of demonstrations."""
    from cdp.data.demos import DataError
    from cdp.data.stats import statistics, table

    try:
        found = statistics(arguments.file, arguments.split)
    except DataError as error:
        return fail(str(error))
    for line in [json.dumps(found, indent=2)] if arguments.json else table(found):
        say(line)
    return 0


def say(line: str) -> None:
    """One line for the user."""
    sys.stdout.write(line + "\n")


def fail(message: str) -> int:
    """Say what failed; the exit code."""
    sys.stderr.write(f"cdp data: {message}\n")
    return 1
