"""`cdp data convert`: from and to the files of other projects."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cdp.data.commands import fail, say

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

FORMATS = ("robomimic", "lerobot", "zarr")


def register(commands: SubParsers) -> None:
    """Add `convert`."""
    parser = commands.add_parser("convert", help="from and to robomimic, LeRobot v3 and diffusion_policy's zarr")
    parser.add_argument("source", type=Path, help="file or folder to read")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--to", choices=FORMATS, help="write this format of a file of demonstrations")
    way.add_argument("--from", dest="origin", choices=FORMATS, help="write a file of demonstrations of this format")
    parser.add_argument("-o", "--out", type=Path, required=True, help="file or folder to write")
    parser.add_argument("--next-obs", action="store_true", help="to robomimic: also next_obs, which its older readers ask for")
    parser.add_argument("--lossless", action="store_true", help="to LeRobot: each picture without loss instead of a video")
    parser.add_argument("--rate", type=float, default=None, help="rows per second [Hz], where the source says none (default: zarr 10)")
    parser.set_defaults(run=run_convert)


def run_convert(arguments: argparse.Namespace) -> int:
    """Convert; 0 where something was written."""
    from cdp.data.convert_lerobot import from_lerobot, to_lerobot
    from cdp.data.convert_robomimic import from_robomimic, to_robomimic
    from cdp.data.convert_zarr import from_zarr, to_zarr
    from cdp.data.demos import DataError

    source, out = arguments.source, arguments.out
    ways = {
        ("to", "robomimic"): lambda: to_robomimic(source, out, arguments.next_obs),
        ("to", "lerobot"): lambda: to_lerobot(source, out, video=not arguments.lossless),
        ("to", "zarr"): lambda: to_zarr(source, out),
        ("from", "robomimic"): lambda: from_robomimic(source, out, arguments.rate),
        ("from", "lerobot"): lambda: from_lerobot(source, out),
        ("from", "zarr"): lambda: from_zarr(source, out, arguments.rate or 10.0),
    }
    try:
        report = ways["to", arguments.to]() if arguments.to else ways["from", arguments.origin]()
    except DataError as error:
        return fail(str(error))
    for note in report.notes:
        say(f"note: {note}")
    say(f"{report.path}: {report.demos} demonstrations, {report.rows} rows")
    return 0
