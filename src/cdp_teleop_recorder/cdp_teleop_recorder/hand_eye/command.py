"""The command `cdp hand-eye`."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from cdp.config import ConfigError, from_mapping
from cdp.handeye.board import DICTIONARIES, Board, write_board
from cdp.handeye.errors import HandEyeError
from cdp.handeye.poses_enough import LEAST_VIEWS
from cdp.handeye.shots import load_board
from cdp_teleop_recorder.hand_eye.moved import check_folder, check_live
from cdp_teleop_recorder.hand_eye.offline import CALIBRATION_FILE, OVERLAY_FILE, solve_folder

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = """examples:
  cdp hand-eye --board board.pdf                     the board to print; measure a square on the print
  cdp hand-eye -o data/hand_eye.yaml                 take views by Enter, then solve
  cdp hand-eye -o data/hand_eye.yaml --auto          a view whenever the arm stands still elsewhere
  cdp hand-eye --from runs/hand-eye/<time>           solve the views of a folder again
  cdp hand-eye --check data/hand_eye.yaml            draw hand and board into the live picture: has the camera moved?
"""
_BOARD = Board()


def register_hand_eye(subparsers: SubParsers) -> None:
    """Add `hand-eye` to the `cdp` command; found through the entry-point group ``cdp.commands``."""
    parser = subparsers.add_parser(
        "hand-eye",
        help="calibrate the fixed camera against the robot's base with a board in the hand, or check that it still stands there",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--board", type=Path, default=None, metavar="FILE", help="only write the board to print, .pdf or .png")
    what.add_argument("--check", type=Path, default=None, metavar="FILE", help="only compare the camera with this calibration")
    parser.add_argument(
        "--from", dest="source", type=Path, default=None, metavar="FOLDER", help="views that were taken before, instead of the camera"
    )
    parser.add_argument("-o", "--out", type=Path, default=None, help="calibration to write (default hand_eye.yaml in the folder of the views)")
    taking = parser.add_argument_group("taking views")
    taking.add_argument("--auto", action="store_true", help="take a view whenever the arm stands still in another pose, without Enter")
    taking.add_argument("--views", type=int, default=15, help="how many to take now (default %(default)s)")
    taking.add_argument("--still-s", type=float, default=0.5, help="how long the arm has to stand still before a picture [s] (default %(default)s)")
    taking.add_argument("--folder", type=Path, default=None, help="where views are kept, beside those that it has (default runs/hand-eye/<time>)")
    taking.add_argument("--image-topic", default="/agentview/image_raw", help="raw or compressed (default %(default)s); camera_info is beside it")
    taking.add_argument("--joint-topic", default="/joint_states", help="(default %(default)s)")
    parser.add_argument("--intrinsics", choices=("auto", "views"), default="auto", help="auto: camera_info where it comes; views: from the views")
    parser.add_argument("--tolerance", type=float, default=5.0, help="with --check: how far the board may be off [pixels] (default %(default)s)")
    board = parser.add_argument_group("the board, measured on the print")
    board.add_argument("--squares", default=None, metavar="6x4", help=f"columns x rows (default {_BOARD.columns}x{_BOARD.rows})")
    board.add_argument("--square-mm", type=float, default=None, help=f"side of a square (default {1e3 * _BOARD.square_m:g})")
    board.add_argument("--marker-mm", type=float, default=None, help=f"side of a marker (default {1e3 * _BOARD.marker_m:g}, or as large a part)")
    board.add_argument("--dictionary", choices=DICTIONARIES, default=None, help=f"(default {_BOARD.dictionary})")
    parser.set_defaults(run=run_hand_eye)


def run_hand_eye(args: argparse.Namespace) -> int:
    """0 where it is done and, with --check, the camera stands where it did. Raises HandEyeError and ConfigError."""
    _refuse_out_of_range(args)
    if args.board is not None:
        board = chosen_board(args, Board())
        write_board(board, args.board)
        sys.stdout.write(f"wrote {args.board}: {board}. Print at 100 %, glue it flat, measure a square, say --square-mm where it is not that\n")
        return 0
    if args.check is not None:
        out = args.out or Path("runs/hand-eye-check.png")
        return check_live(args, out) if args.source is None else check_folder(args, out)
    folder = args.source
    if folder is None:
        from cdp_teleop_recorder.hand_eye.take import take_views

        folder = args.folder or Path("runs/hand-eye") / f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}"
        take_views(args, folder, chosen_board(args, Board()))
    calibration = args.out or folder / CALIBRATION_FILE
    try:
        said = solve_folder(folder, chosen_board(args, load_board(folder)), args.intrinsics, calibration, folder / OVERLAY_FILE)
    except HandEyeError as error:
        raise HandEyeError(f"{error}\nthe views are kept: --folder {folder} takes more into it, --from {folder} solves them again") from None
    sys.stdout.write(said + "\n")
    return 0


def chosen_board(args: argparse.Namespace, board: Board) -> Board:
    """``board`` with what was said of it. Raises :class:`ConfigError`."""
    share = board.marker_m / board.square_m
    if args.squares is not None:
        sizes = re.fullmatch(r"(\d+)x(\d+)", args.squares)
        if sizes is None:
            raise ConfigError(f"--squares {args.squares}: columns x rows, like 6x4")
        board = replace(board, columns=int(sizes[1]), rows=int(sizes[2]))
    square = board.square_m if args.square_mm is None else args.square_mm / 1e3
    marker = share * square if args.marker_mm is None else args.marker_mm / 1e3
    said = {"columns": board.columns, "rows": board.rows, "square_m": square, "marker_m": marker, "dictionary": args.dictionary or board.dictionary}
    return from_mapping(Board, said, "board.")


def _refuse_out_of_range(args: argparse.Namespace) -> None:
    if not LEAST_VIEWS <= args.views <= 200:
        raise HandEyeError(f"--views {args.views}: outside [{LEAST_VIEWS}, 200]; 12 to 20 are good")
    if not 0.05 <= args.still_s <= 5.0:
        raise HandEyeError(f"--still-s {args.still_s}: outside [0.05, 5]")
    if not 0.1 <= args.tolerance <= 100.0:
        raise HandEyeError(f"--tolerance {args.tolerance}: outside [0.1, 100]")
