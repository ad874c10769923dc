"""What two pictures are compared by, and how well they agree: edges, whatever the light."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cdp.geometry import FloatArray

Picture = NDArray[np.uint8]
Edges = NDArray[np.float32]
Mask = NDArray[np.uint8]

# Of a picture 640 pixels wide [pixels]; an edge of 15 % and more counts in full.
_REFERENCE_WIDTH = 640
_FINE, _BROAD = 1.0, 16.0
_FULL_CONTRAST = 0.15


def edges(rgb: Picture) -> Edges:
    """Local contrast (H, W) in (-1, 1) of an RGB picture (H, W, 3) uint8.

    The logarithm makes a change of the light, or of the exposure, an addition; taking out the broad mean removes it, and what a lamp at the side
    adds slowly across the picture. The squashing keeps one glaring edge from outweighing all others.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    unit = max(grey.shape) / _REFERENCE_WIDTH
    logarithm = np.log1p(cv2.GaussianBlur(grey, (0, 0), max(0.6, _FINE * unit)))
    local = logarithm - cv2.GaussianBlur(logarithm, (0, 0), max(2.5, _BROAD * unit))
    return np.asarray(np.tanh(local / _FULL_CONTRAST), dtype=np.float32)


def warp(picture: NDArray[Any], transform: FloatArray, size: tuple[int, int], nearest: bool = False) -> NDArray[Any]:
    """``picture`` seen from the other side of ``transform`` (2, 3), which takes a pixel of the result, (width, height) in ``size``, to one of it."""
    flags = (cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, transform.astype(np.float32), size, flags=flags))


def agreement(reference: Edges, still: Mask, live: Edges, transform: FloatArray) -> float:
    """Correlation coefficient where the still part of the reference is seen in the live picture; -1 where that is next to nothing."""
    size = (live.shape[1], live.shape[0])
    seen = warp(still, transform, size, nearest=True) > 0
    if seen.sum() < 0.05 * live.size:
        return -1.0
    a, b = warp(reference, transform, size)[seen], live[seen]
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-12))


def uncertainty_px(reference: Edges, still: Mask, residual: float) -> float:
    """How far the whole picture might be off unseen [pixels]: the Cramer-Rao bound of shift and rotation for edges as sharp as these.

    ``residual``: standard deviation of what is left after the alignment. The samples within a blurred edge are not independent, so one in some
    hundred of a picture of 640 pixels counts. Infinite where the picture has no structure in some direction, e.g. only parallel edges.
    """
    height, width = reference.shape
    gx, gy = (cv2.Scharr(reference, cv2.CV_32F, *order) / 32.0 for order in ((1, 0), (0, 1)))
    inside = cv2.erode(still, np.ones((3, 3), np.uint8)) > 0
    y, x = np.mgrid[:height, :width].astype(np.float32)
    half = 0.5 * np.hypot(width, height)
    turn = (gy * (x - 0.5 * (width - 1)) - gx * (y - 0.5 * (height - 1))) / half
    rows = np.stack([g[inside] for g in (gx, gy, turn)])
    independent = max(1.0, 100.0 * (width / _REFERENCE_WIDTH) ** 2)
    information = rows @ rows.T / independent
    smallest = float(np.linalg.eigvalsh(information)[0])
    return float(residual / np.sqrt(smallest)) if smallest > 1e-9 else float("inf")
