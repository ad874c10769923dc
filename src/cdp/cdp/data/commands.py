"""`cdp data`: collects recorded episodes into a file of demonstrations, describes one, checks one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = """examples:
  cdp data collect data/episodes -o data/slide.hdf5                  images as the camera took them
  cdp data collect data/episodes -o data/slide.hdf5 --image-size 96  images at the size that the policy sees
  cdp data recover data/episodes                                     finish episodes whose recorder was killed
  cdp data info data/slide.hdf5
  cdp data validate data/slide.hdf5
"""


def register(subparsers: SubParsers) -> None:
    """Add `data` to the `cdp` command; each command sets ``run``, a function of the parsed arguments that returns the exit code."""
    parser = subparsers.add_parser(
        "data", help="collect, describe and check demonstrations", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="data_command", required=True)
    _register_collect(commands)
    _register_recover(commands)
    for name, run, text in (
        ("info", run_info, "describe a file of demonstrations"),
        ("validate", run_validate, "check a file against the rules of its layout"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("file", type=Path, help="file of demonstrations")
        command.set_defaults(run=run)


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
    parser.set_defaults(run=run_collect)


def _register_recover(commands: SubParsers) -> None:
    parser = commands.add_parser("recover", help="finish the episodes whose recorder was killed, up to what it had written")
    parser.add_argument("episodes", type=Path, help="folder of episodes")
    parser.set_defaults(run=run_recover)


def run_recover(arguments: argparse.Namespace) -> int:
    """Recover; 0 where nothing is left over but what is being recorded now."""
    from cdp.data.recover import recover

    if not arguments.episodes.is_dir():
        return _fail(f"{arguments.episodes}: no such folder of episodes")
    results = recover(arguments.episodes)
    for result in results:
        _say(result.message)
    _say(f"{arguments.episodes}: {sum(result.path is not None for result in results)} episodes finished, {len(results)} journals looked at")
    return 0 if all(result.done or result.busy for result in results) else 1


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
            also=arguments.also,
        )
    except (CollectError, ConfigError) as error:
        return _fail(str(error))
    for path, reason in report.rejected:
        _say(f"rejected {path.name}: {reason}")
    for path in report.unfinished:
        _say(f"unfinished {path.name}: being recorded now, or left behind by a recorder that was killed; skipped (cdp data recover)")
    _say(f"{report.path}: {report.demos} demonstrations, {report.rows} rows, {len(report.rejected)} episodes rejected")
    return 0


def run_info(arguments: argparse.Namespace) -> int:
    """Describe a file of demonstrations."""
    from cdp.data.info import describe

    try:
        lines = describe(arguments.file)
    except (OSError, KeyError, ValueError) as error:
        return _fail(f"{arguments.file}: {error}")
    for line in lines:
        _say(line)
    return 0


def run_validate(arguments: argparse.Namespace) -> int:
    """Check a file of demonstrations; 0 where nothing is wrong."""
    from cdp.data.validate import validate

    findings = validate(arguments.file)
    for finding in findings:
        _say(finding)
    _say(f"{arguments.file}: {f'{len(findings)} findings' if findings else 'valid'}")
    return 1 if findings else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _fail(message: str) -> int:
    sys.stderr.write(f"cdp data: {message}\n")
    return 1
