"""The ChArUco board: a chessboard with a numbered marker in each white square, so that part of it is enough."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cdp.config import ConfigError, setting
from cdp.geometry import FloatArray
from cdp.handeye.errors import HandEyeError

DICTIONARIES = ("DICT_4X4_50", "DICT_4X4_100", "DICT_5X5_100", "DICT_6X6_250")
# A4, lying.
_SHEET_M = (0.297, 0.210)
_PRINTER_EDGE_M = 0.005
_LINE_M = 0.1
_INCH_M = 0.0254
# Of the shipped board a module is 32 of them, so that no edge is rounded.
_PIXELS_PER_SQUARE = 252
_DOTS_PER_INCH = 300


@dataclass(frozen=True)
class Board:
    """Frame of the board: x along its columns, y along its rows, origin at the outer corner of the first square, z into the board."""

    columns: int = setting(6, low=3, high=20, help="squares along the longer side")
    rows: int = setting(4, low=3, high=20, help="squares along the shorter side")
    square_m: float = setting(0.042, low=0.005, high=0.3, help="side of a square, measured on the print")
    marker_m: float = setting(0.032, low=0.003, high=0.3, help="side of a marker")
    dictionary: str = setting("DICT_4X4_50", choices=DICTIONARIES, help="which markers")

    def __post_init__(self) -> None:
        if not 0.4 * self.square_m <= self.marker_m <= 0.9 * self.square_m:
            raise ConfigError(f"marker_m: {self.marker_m} is outside [0.4, 0.9] of square_m, {self.square_m}")

    @cached_property
    def pattern(self) -> Any:
        """OpenCV's board."""
        markers = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.dictionary))
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square_m, self.marker_m, markers)

    @cached_property
    def corners_m(self) -> FloatArray:
        """Inner corners ((columns - 1) (rows - 1), 3) [m] in the board's frame, by their number."""
        return np.asarray(self.pattern.getChessboardCorners(), dtype=np.float64).reshape(-1, 3)

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of all squares."""
        return self.columns * self.square_m, self.rows * self.square_m

    def __str__(self) -> str:
        return f"{self.columns}x{self.rows} squares of {1e3 * self.square_m:g} mm, markers of {1e3 * self.marker_m:g} mm, {self.dictionary}"


def write_board(board: Board, path: Path) -> None:
    """Write the board at its true size, as a PDF or a PNG (300 dots per inch), on a sheet of A4 or, where it is larger, one of its own size.

    Raises :class:`HandEyeError` for another kind of file, and OSError.
    """
    from matplotlib.figure import Figure

    if path.suffix.lower() not in (".pdf", ".png"):
        raise HandEyeError(f"{path}: a board is written as .pdf or .png")
    width, height = board.size_m
    border = 2 * _PRINTER_EDGE_M
    sheet = (max(_SHEET_M[0], width + 2 * border), max(_SHEET_M[1], height + 4 * border))
    figure = Figure(figsize=(sheet[0] / _INCH_M, sheet[1] / _INCH_M))
    left, bottom = 0.5 * (sheet[0] - width) / sheet[0], (sheet[1] - height - border) / sheet[1]
    axes = figure.add_axes((left, bottom, width / sheet[0], height / sheet[1]))
    side = _PIXELS_PER_SQUARE
    axes.imshow(board.pattern.generateImage((board.columns * side, board.rows * side)), cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set_axis_off()
    level = bottom - 1.2 * border / sheet[1]
    figure.text(left, level, f"{board}.  Print at 100 %; this line is 100 mm long:", fontsize=8, va="center")
    end = left + width / sheet[0]
    figure.add_artist(_line((end - _LINE_M / sheet[0], end), (level, level)))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def _line(x: tuple[float, float], y: tuple[float, float]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(x, y, color="black", linewidth=1.0, marker="|", markersize=8, solid_capstyle="butt")
