"""How a picture is shifted, turned and scaled against a reference, by edges that stayed where they were.

Rigid alignment is OpenCV's enhanced correlation coefficient (Evangelidis & Psarakis, 2008), from a search over rotations and scales with phase
correlation; what moved by itself (the arm, objects) is left out of it step by step, as what still differs after the alignment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from cdp.camera.features import Edges, Mask, Picture, agreement, edges, uncertainty_px, warp
from cdp.geometry import FloatArray

# Searched at this width [pixels]: +-15 deg, +-10 %, and any shift that leaves a good part of the picture.
_COARSE_WIDTH = 160
_TURNS_DEG = np.arange(-15.0, 15.1, 2.5)
_SCALES = (0.9, 0.95, 1.0, 1.05, 1.1)
_CANDIDATES = 4
_SCALE_STEP = 0.01
# A scale is believed where it explains that much more; else it would only add noise at the corners.
_SCALE_GAIN = 0.01
_ROUNDS = 4
_DIFFERENT = 0.15
# What a camera's own noise leaves between two pictures of the same thing.
_NOISE = 0.02
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)


@dataclass(frozen=True)
class Motion:
    """Where the reference's picture has gone in the live one.

    ``shift_px`` (2,): of the picture's centre, right and down; ``turn_deg``: clockwise as seen; ``scale``: 1.02 is 2 % larger; ``most_px``: the
    largest displacement of a corner. ``agreement``: correlation of the edges that stayed, after the alignment; ``share``: of the reference, how much
    those are; ``uncertainty_px``: how far the picture could be off unseen. ``light``: brightness of the live picture, 1 as the reference.
    ``transform`` (2, 3): a pixel of the live picture to one of the reference. Pixels are those of the pictures that were compared.
    """

    shift_px: FloatArray
    turn_deg: float
    scale: float
    most_px: float
    agreement: float
    share: float
    uncertainty_px: float
    light: float
    transform: FloatArray


def find_motion(reference: Picture, live: Picture, still: Mask | None = None) -> Motion | None:
    """Motion between two RGB pictures (H, W, 3) uint8 of one size; None where no alignment holds at all.

    ``still`` (H, W) uint8: other than 0 where the reference's scene is known not to move. Raises ValueError for pictures of different sizes.
    """
    if reference.shape != live.shape or reference.ndim != 3:
        raise ValueError(f"the pictures must have one size: {reference.shape} and {live.shape}")
    height, width = live.shape[:2]
    mask: Mask = np.full((height, width), 255, np.uint8) if still is None else np.where(still > 0, 255, 0).astype(np.uint8)
    fine = (edges(reference), mask, edges(live))
    factor = max(1, round(max(height, width) / _COARSE_WIDTH))
    size = (width // factor, height // factor)
    small = [np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.float32) for picture in (fine[0], fine[2])]
    best = _best(small[0], np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8), small[1])
    if best is None:
        return None
    up = np.array([[factor, 0.0, 0.5 * (factor - 1)], [0.0, factor, 0.5 * (factor - 1)], [0.0, 0.0, 1.0]])
    transform, used = _refined(*fine, up @ best @ np.linalg.inv(up))
    return _measured(fine[0], fine[2], transform, used, mask, _light(reference, live, used, transform))


def _best(reference: Edges, still: Mask, live: Edges) -> FloatArray | None:
    """The best alignment (3, 3) of the small pictures: rotation and scale by search, then rigid, then the scale once more, in small steps."""
    starts = [t for _, t in sorted(_candidates(reference, still, live), key=lambda c: -c[0])[:_CANDIDATES]]
    found = _best_of(reference, still, live, [*starts, np.eye(3)])
    if found is None:
        return None
    transform, scale = found[1], _scale(found[1])
    steps = [scale + k * _SCALE_STEP for k in range(-2, 3)]
    scaled = _best_of(reference, still, live, [transform @ _about_centre(live.shape, 0.0, s / scale) for s in steps]) or found
    plain = _best_of(reference, still, live, [transform @ _about_centre(live.shape, 0.0, 1.0 / scale)])
    return plain[1] if plain is not None and plain[0] > scaled[0] - _SCALE_GAIN else scaled[1]


def _candidates(reference: Edges, still: Mask, live: Edges) -> Iterator[tuple[float, FloatArray]]:
    """Agreement and alignment (3, 3) for each rotation and scale, the shift by phase correlation."""
    size = (live.shape[1], live.shape[0])
    window = cv2.createHanningWindow(size, cv2.CV_32F)
    known = np.where(still > 0, reference, np.float32(0))
    for turn in _TURNS_DEG:
        for scale in _SCALES:
            turned = _about_centre(live.shape, float(turn), scale)
            # OpenCV 5 windows its arguments in place.
            (dx, dy), _ = cv2.phaseCorrelate(np.array(warp(known, turned[:2], size)), live.copy(), window)
            transform = turned @ np.array([[1.0, 0.0, -dx], [0.0, 1.0, -dy], [0.0, 0.0, 1.0]])
            yield agreement(reference, still, live, transform[:2]), transform


def _best_of(reference: Edges, still: Mask, live: Edges, starts: Iterable[FloatArray]) -> tuple[float, FloatArray] | None:
    """Agreement and alignment of the best of several, each aligned from its start."""
    aligned = [t for start in starts if (t := _rigid(reference, still, live, start)) is not None]
    return max(((agreement(reference, still, live, t[:2]), t) for t in aligned), key=lambda c: c[0], default=None)


def _rigid(reference: Edges, still: Mask, live: Edges, start: FloatArray) -> FloatArray | None:
    """Rotation and shift from a start (3, 3), whose scale stays; None where the alignment does not converge."""
    scale = _about_centre(reference.shape, 0.0, 1.0 / _scale(start))
    size = (reference.shape[1], reference.shape[0])
    back = _inverse(scale)
    scaled = [np.array(warp(picture, back[:2], size, nearest)) for picture, nearest in ((reference, False), (still, True))]
    try:
        _, found = cv2.findTransformECC(live, scaled[0], (scale @ start)[:2].astype(np.float32), cv2.MOTION_EUCLIDEAN, _STOP, scaled[1], 3)
    except cv2.error:
        return None
    return np.asarray(back @ np.vstack([found, [0.0, 0.0, 1.0]]), dtype=np.float64)


def _refined(reference: Edges, still: Mask, live: Edges, start: FloatArray) -> tuple[FloatArray, Mask]:
    """The alignment of the full pictures, and the part of the reference that it holds for: what still differs has moved by itself."""
    size = (live.shape[1], live.shape[0])
    transform, used = start, still
    for _ in range(_ROUNDS):
        found = _rigid(reference, used, live, transform)
        if found is None:
            break
        transform = found
        differing = cv2.GaussianBlur(np.abs(warp(reference, transform[:2], size) - live), (0, 0), max(1.0, size[0] / 160))
        alike = cv2.erode(np.where(differing < _DIFFERENT, 255, 0).astype(np.uint8), np.ones((5, 5), np.uint8))
        used = np.asarray(np.minimum(still, warp(alike, _inverse(transform)[:2], size, nearest=True)), dtype=np.uint8)
    return transform, used


def _measured(reference: Edges, live: Edges, transform: FloatArray, used: Mask, still: Mask, light: float) -> Motion:
    height, width = live.shape
    size = (width, height)
    forward = _inverse(transform)
    corners = np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]], dtype=np.float64)
    centre = np.array([0.5 * (width - 1), 0.5 * (height - 1), 1.0])
    seen = warp(used, transform[:2], size, nearest=True) > 0
    left = (warp(reference, transform[:2], size) - live)[seen]
    return Motion(
        shift_px=(forward @ centre - centre)[:2],
        turn_deg=float(np.degrees(np.arctan2(forward[1, 0], forward[0, 0]))),
        scale=_scale(forward),
        most_px=float(np.linalg.norm((forward @ corners - corners)[:2], axis=0).max()),
        agreement=agreement(reference, used, live, transform[:2]),
        share=float((used > 0).sum() / max(1, (still > 0).sum())),
        uncertainty_px=uncertainty_px(reference, used, max(_NOISE, float(left.std()) if left.size else 1.0)),
        light=light,
        transform=transform[:2],
    )


def _light(reference: Picture, live: Picture, used: Mask, transform: FloatArray) -> float:
    size = (live.shape[1], live.shape[0])
    seen = warp(used, transform[:2], size, nearest=True) > 0
    if not seen.any():
        return 1.0
    before, now = (np.mean(picture[seen], dtype=np.float64) for picture in (warp(reference, transform[:2], size), live))
    return float((now + 1.0) / (before + 1.0))


def _inverse(transform: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.inv(transform), dtype=np.float64)


def _scale(transform: FloatArray) -> float:
    return float(np.sqrt(abs(np.linalg.det(transform[:2, :2]))))


def _about_centre(shape: tuple[int, ...], turn_deg: float, scale: float) -> FloatArray:
    """Rotation and scaling (3, 3) about the centre of a picture (height, width)."""
    matrix = cv2.getRotationMatrix2D((0.5 * (shape[1] - 1), 0.5 * (shape[0] - 1)), turn_deg, scale)
    return np.vstack([matrix, [0.0, 0.0, 1.0]])
