"""Views as they were taken: a picture and the joints of the arm, in a folder, each whole or not there at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import yaml

from cdp.camera.features import Picture
from cdp.camera.reference import CameraError, read_picture
from cdp.config import ConfigError, load, setting, to_mapping
from cdp.handeye.board import Board
from cdp.handeye.errors import HandEyeError
from cdp.handeye.lens import Lens

BOARD_FILE = "board.yaml"
_LEFT_OUT = ".left_out"


@dataclass(frozen=True)
class Shot:
    """What goes with one picture, ``<name>.png``; in the folder as ``<name>.yaml``. ``lens``: by camera_info, None where that has none."""

    name: str
    stamp_ns: int = setting(low=0, help="header stamp of the picture")
    joint_position_rad: tuple[float, ...] = setting(help="in the arm's order, while it stood still")
    camera_frame: str = setting("", help="frame_id of the picture")
    lens: Lens | None = None


def begin_folder(folder: Path, board: Board) -> None:
    """Make the folder and write the board into it; one with views is gone on with. Raises :class:`HandEyeError` where those are of another board."""
    if any(folder.glob("view_*.yaml")) and load_board(folder) != board:
        raise HandEyeError(f"{folder} holds views of another board, {load_board(folder)}: give another folder, or say that board")
    folder.mkdir(parents=True, exist_ok=True)
    _write_whole(folder / BOARD_FILE, _text(board))


def save_shot(folder: Path, shot: Shot, picture: Picture) -> None:
    """Write picture and joints, on the disk when this returns. Raises OSError."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise OSError(f"a picture of {picture.shape[1]}x{picture.shape[0]} cannot be written as PNG")
    _write_whole(folder / f"{shot.name}.png", data.tobytes())
    # Last: a view is there when its joints are.
    _write_whole(folder / f"{shot.name}.yaml", _text(shot))


def leave_out(folder: Path, name: str) -> None:
    """Take a view out of what is solved; its files stay, under another name."""
    path = folder / f"{name}.yaml"
    path.replace(path.with_suffix(f".yaml{_LEFT_OUT}"))


def load_board(folder: Path) -> Board:
    """The board of a folder. Raises :class:`HandEyeError`."""
    try:
        return load(Board, folder / BOARD_FILE)
    except ConfigError as error:
        raise HandEyeError(f"{error}; give a folder that `cdp hand-eye` has written") from None


def load_shots(folder: Path) -> list[tuple[Shot, Picture]]:
    """Views and pictures by name. Raises :class:`HandEyeError`."""
    try:
        shots = [load(Shot, path) for path in sorted(folder.glob("view_*.yaml"))]
        return [(shot, read_picture(folder / f"{shot.name}.png")) for shot in shots]
    except (ConfigError, CameraError) as error:
        raise HandEyeError(f"{error}; rename that view's .yaml to leave it out") from None


def next_name(folder: Path) -> str:
    """A name that no view of the folder has or had."""
    return f"view_{1 + len([*folder.glob('view_*.yaml'), *folder.glob(f'view_*.yaml{_LEFT_OUT}')]):02d}"


def _text(config: object) -> bytes:
    return yaml.safe_dump(to_mapping(config), sort_keys=False).encode()


def _write_whole(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
