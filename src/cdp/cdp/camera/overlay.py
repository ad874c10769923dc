"""The picture that shows by eye what the numbers say: reference, view, both blended, their edges, their difference before and after alignment."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cdp.camera.check import Check
from cdp.camera.features import Picture, edges, warp

_PANEL_WIDTH = 560
_CAPTION = 26
_MARGIN = 8
_REFERENCE_COLOUR, _NOW_COLOUR = (220, 30, 30), (0, 150, 220)


def write_overlay(check: Check, path: Path) -> None:
    """Write the six panels as a PNG, and under them the verdict. Raises OSError where it cannot be written."""
    size = (_PANEL_WIDTH, round(_PANEL_WIDTH * check.live.shape[0] / check.live.shape[1]))
    before, now = (_large(picture, size) for picture in (check.reference, check.live))
    panels = [
        ("reference", before),
        ("now", now),
        ("both blended", np.asarray(cv2.addWeighted(before, 0.5, now, 0.5, 0.0), dtype=np.uint8)),
        ("edges: reference red, now blue", _edge_picture(before, now)),
        ("difference", _difference(before, now)),
    ]
    if check.motion is not None:
        aligned = _large(np.asarray(warp(check.reference, check.motion.transform, check.live.shape[1::-1]), dtype=np.uint8), size)
        panels.append(("difference once aligned: what has moved by itself", _difference(aligned, now)))
    else:
        panels.append(("no alignment holds", np.full_like(now, 255)))
    sheet = np.vstack([_row(panels[:3]), _row(panels[3:]), _verdict_line(check, 3 * (size[0] + _MARGIN) + _MARGIN)])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path} could not be written; give another file with -o")


def _large(picture: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if picture.shape[1] > size[0] else cv2.INTER_CUBIC), dtype=np.uint8)


def _edge_picture(before: Picture, now: Picture) -> Picture:
    """Lines of both on white, the later ones half over the earlier ones: where they coincide they are dark."""
    sheet: NDArray[np.float64] = np.full(now.shape, 255.0)
    for picture, colour in ((before, _REFERENCE_COLOUR), (now, _NOW_COLOUR)):
        contrast = (127.0 * (1.0 + edges(picture))).astype(np.uint8)
        lines = cv2.dilate(cv2.Canny(cv2.GaussianBlur(contrast, (0, 0), 1.5), 40, 100), np.ones((2, 2), np.uint8)) > 0
        sheet[lines] *= np.array(colour) / 255.0
    return sheet.astype(np.uint8)


def _difference(before: Picture, now: Picture) -> Picture:
    """White where both are alike, dark where not; each brought to the same mean and spread first, so that light alone shows little."""
    a, b = (cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 1.0).astype(np.float32) for picture in (before, now))
    a = (a - a.mean()) / max(1.0, float(a.std())) * max(1.0, float(b.std())) + b.mean()
    grey = np.clip(255.0 - 3.0 * np.abs(a - b), 0.0, 255.0).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _row(panels: list[tuple[str, Picture]]) -> Picture:
    height, width = panels[0][1].shape[:2]
    row = np.full((height + _CAPTION + _MARGIN, len(panels) * (width + _MARGIN) + _MARGIN, 3), 255, np.uint8)
    for k, (caption, picture) in enumerate(panels):
        left = _MARGIN + k * (width + _MARGIN)
        cv2.putText(row, caption, (left, _CAPTION - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
        row[_CAPTION : _CAPTION + height, left : left + width] = picture
    return row


def _verdict_line(check: Check, width: int) -> Picture:
    words = f"{check.verdict}: {check.text}"
    line = np.full((2 * _CAPTION, width, 3), 255, np.uint8)
    scale = min(0.6, 0.6 * (width - 2 * _MARGIN) / cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)[0][0])
    colour = {"same": (0, 120, 0), "moved": (190, 0, 0), "unknown": (150, 90, 0)}[check.verdict]
    cv2.putText(line, words, (_MARGIN, _CAPTION), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
    return line
