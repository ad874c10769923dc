"""The live view against the reference: what has changed, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from cdp.camera.features import Mask, Picture
from cdp.camera.motion import Motion, find_motion
from cdp.camera.reference import CameraError, Reference

Verdict = Literal["same", "moved", "unknown"]
# Less than this of the picture fits the reference, and that part not well: another scene, a covered lens, the wrong camera.
_AGREEMENT, _SHARE = 0.8, 0.25
_ASPECT = 0.01
_LIGHT = (0.7, 1.4)


@dataclass(frozen=True)
class Check:
    """``motion`` in pixels of the camera (its ``transform`` in those compared), None where no alignment holds.

    ``reference`` and ``live`` (H, W, 3): as they were compared.
    ``tolerance_px``: displacement of a corner [pixels of the camera] up to which the verdict is "same".
    """

    verdict: Verdict
    text: str
    advice: tuple[str, ...]
    motion: Motion | None
    tolerance_px: float
    reference: Picture
    live: Picture


def check_view(reference: Reference, live: Picture, tolerance: float = 0.01) -> Check:
    """Compare ``live`` (H, W, 3) uint8 RGB, as the camera gives it, with the reference; ``tolerance`` is a share of the picture's width.

    Both go through the size of the reference's pictures, as what a policy sees does, and are compared in the camera's proportions.
    Raises :class:`CameraError` where the proportions differ or the live picture is smaller than the reference.
    """
    before, now, still = _comparable(reference, live)
    factor = reference.camera_size[1] / before.shape[1]
    limit = tolerance * reference.camera_size[1]
    found = find_motion(before, now, still)
    motion = None if found is None else _magnified(found, factor)
    verdict, text = _judge(motion, limit)
    return Check(verdict, text, tuple(_advice(verdict, motion)), motion, limit, before, now)


def _comparable(reference: Reference, live: Picture) -> tuple[Picture, Picture, Mask | None]:
    height, width = reference.camera_size
    if abs(live.shape[1] / live.shape[0] - width / height) > _ASPECT * width / height:
        raise CameraError(
            f"the camera gives {live.shape[1]}x{live.shape[0]} and the data set was recorded at {width}x{height}: "
            "set the driver's size (config/camera_*.yaml) as it was"
        )
    own = (reference.picture.shape[1], reference.picture.shape[0])
    if live.shape[0] < own[1] or live.shape[1] < own[0]:
        raise CameraError(
            f"a view of {live.shape[1]}x{live.shape[0]} is smaller than the reference, {own[0]}x{own[1]}: set the driver's size as it was"
        )
    size = (round(own[1] * width / height), own[1])
    now = cv2.resize(np.ascontiguousarray(live), own, interpolation=cv2.INTER_AREA)
    both = [np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8) for picture in (reference.picture, now)]
    still = None if reference.still is None else np.asarray(cv2.resize(reference.still, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    return both[0], both[1], still


def _magnified(motion: Motion, factor: float) -> Motion:
    """The same motion in pixels that are ``factor`` times as small."""
    return replace(motion, shift_px=factor * motion.shift_px, most_px=factor * motion.most_px, uncertainty_px=factor * motion.uncertainty_px)


def _judge(motion: Motion | None, limit_px: float) -> tuple[Verdict, str]:
    if motion is None or motion.agreement < _AGREEMENT or motion.share < _SHARE:
        return "unknown", "nothing in this view fits the reference: another camera or scene, a covered lens, or moved by more than 15 degrees"
    moved = (
        f"shifted by {motion.shift_px[0]:+.1f}, {motion.shift_px[1]:+.1f} pixels (right, down), turned by {motion.turn_deg:+.2f} deg (clockwise), "
        f"scaled by {motion.scale:.3f}: {motion.most_px:.1f} pixels at the worst corner, {limit_px:.1f} are allowed"
    )
    if motion.uncertainty_px > limit_px:
        return "unknown", f"{moved}; but too little in this view stands still to be sure within {motion.uncertainty_px:.1f} pixels"
    return ("moved" if motion.most_px > limit_px else "same"), moved


def _advice(verdict: Verdict, motion: Motion | None) -> list[str]:
    if verdict == "unknown" or motion is None:
        return [
            "look at the overlay; check topic, lens and exposure; clear away what covers the table and bring the arm to where it starts",
            "if the scene itself was rebuilt, record a few demonstrations anew and take them as the reference",
        ]
    found = []
    if verdict == "moved":
        # What has gone right in the picture, the camera has turned left from.
        turns = [("right", "left", motion.shift_px[0]), ("down", "up", motion.shift_px[1])]
        ways = [f"{a if d > 0 else b} until the picture has moved by {abs(d):.0f} pixels" for a, b, d in turns if abs(d) >= 1.0]
        if ways:
            found.append(f"turn the camera {', and '.join(ways)}")
        if abs(motion.turn_deg) >= 0.2:
            found.append(
                f"roll the camera {'clockwise' if motion.turn_deg > 0 else 'counter-clockwise'} by {abs(motion.turn_deg):.1f} deg, seen from behind"
            )
        if abs(motion.scale - 1.0) >= 0.01:
            found.append(
                f"move the camera {'back' if motion.scale > 1 else 'closer'}, by {100 * abs(motion.scale - 1.0):.0f} % of its distance to the table"
            )
        found.append("then look again; where it cannot be put back, record demonstrations from here and train on both")
    if not _LIGHT[0] <= motion.light <= _LIGHT[1]:
        found.append(f"the light is {motion.light:.2f} of the reference's (no motion, but a policy may notice): set lamps or exposure as they were")
    return found
