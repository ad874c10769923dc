"""One look for all figures: colours that colour-blind readers tell apart (Okabe and Ito), a marker for each colour, panels of one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Colour and marker of each policy.
STYLES = {
    "exact": ("#7f7f7f", "x"),
    "diffusion": ("#000000", "o"),
    "cdp-saturating": ("#0072B2", "s"),
    "cdp-hinge": ("#E69F00", "^"),
    "cdp-frobenius": ("#009E73", "D"),
    "cdp-step": ("#D55E00", "v"),
    "weight decay": ("#CC79A7", "P"),
    "half temperature": ("#56B4E9", "*"),
    "state penalty": ("#882255", "X"),
}


def panels(rows: int, columns: int, size: float = 2.6, share: bool = True, height: float | None = None) -> tuple[Figure, list[list[Axes]]]:
    """A figure of ``rows`` x ``columns`` panels of ``size`` inches, with shared axes unless ``share`` is false."""
    figure = Figure(figsize=(size * columns, (height or size) * rows), layout="constrained", dpi=110)
    axes: np.ndarray = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)
    return figure, [list(row) for row in axes]


def save(figure: Figure, path: Path) -> None:
    """Write a PNG without a date, so that equal figures are equal files."""
    figure.savefig(path, metadata={"Software": None})
