"""`cdp hand-eye --check`: has the camera moved since it was calibrated?"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from cdp.camera.features import Picture
from cdp.handeye.calibration import Calibration, read_calibration
from cdp.handeye.detect import find_corners, usable
from cdp.handeye.errors import HandEyeError
from cdp.handeye.moved import Offset, offset
from cdp.handeye.pose import Pose
from cdp.handeye.reprojection import View
from cdp.handeye.shots import load_board, load_shots
from cdp.handeye.solve import solve
from cdp_teleop_recorder.hand_eye.offline import HAND_FRAME, draw, hand_pose, views_of

_WAIT_S = 10.0
_PERIOD_S = 0.05


def check_live(args: argparse.Namespace, out: Path) -> int:
    """One live picture, the board in the hand as it was. 0 where it is where it should be. Raises :class:`HandEyeError`."""
    from cdp_teleop_recorder.hand_eye.ear import Ear

    calibration = read_calibration(args.check)
    with Ear(args.image_topic, args.joint_topic, args.still_s) as ear:
        for _ in range(round(_WAIT_S / _PERIOD_S)):
            ear.listen(_PERIOD_S)
            rest = ear.at_rest()
            if rest is not None:
                break
        else:
            raise HandEyeError(
                ear.missing() or f"the arm did not stand still for {args.still_s} s, or pictures and joint states differ in their clocks"
            )
    _refuse_another_size(rest.picture, calibration)
    view = View("live", hand_pose(rest.joint_rad.tolist()), find_corners(rest.picture, calibration.board))
    mount = calibration.mount.pose
    found = offset([view], calibration, mount) if usable(view.corners, calibration.board) else None
    return _tell(rest.picture, calibration, view, mount, found, args.tolerance, out)


def check_folder(args: argparse.Namespace, out: Path) -> int:
    """Views taken since, wherever the board sits in the hand: solved by themselves, and both cameras compared. Raises :class:`HandEyeError`."""
    calibration = replace(read_calibration(args.check), board=load_board(args.source))
    taken = load_shots(args.source)
    solution = solve(views_of(taken, calibration.board), calibration.board, calibration.lens)
    mount, last = solution.fit.mount, solution.views[-1]
    picture = next(picture for shot, picture in taken if shot.name == last.name)
    _refuse_another_size(picture, calibration)
    change = calibration.camera.pose.change_to(solution.fit.camera)
    moved = f"the camera is {1e3 * np.linalg.norm(change[:3]):.1f} mm and {np.degrees(np.linalg.norm(change[3:])):.2f} deg from where it was"
    return _tell(picture, calibration, last, mount, offset(solution.views, calibration, mount), args.tolerance, out, moved)


def _tell(
    picture: Picture, calibration: Calibration, view: View, mount: Pose, found: Offset | None, tolerance_px: float, out: Path, more: str = ""
) -> int:
    same = found is not None and found.rms_px <= tolerance_px
    if found is None:
        text = f"unknown: the board is not seen; does {HAND_FRAME} in {out} lie between the fingertips?"
    else:
        right, down = found.mean_px
        text = (
            f"{'same' if same else 'moved'}: the board is off by {right:+.1f}, {down:+.1f} pixels (right, down), {found.rms_px:.1f} rms, "
            f"{found.most_px:.1f} at most; {tolerance_px:.1f} rms are allowed"
        )
    lines = [text, *([more] if more else [])]
    draw(picture, calibration, view.hand, mount, view.corners, lines, out)
    if found is not None and not same and not more:
        lines.append(
            "  -> the camera moved, or the board sits otherwise in the hand: if it was put in anew, take views (cdp hand-eye --folder F) and say "
            "--check FILE --from F"
        )
    if found is not None and not same:
        lines.append("  -> a camera that moved: put it back (cdp camera-check says how), or calibrate anew")
    sys.stdout.write("\n".join([*lines, f"against the calibration of {calibration.date}; see {out}"]) + "\n")
    return 0 if same else 1


def _refuse_another_size(picture: Picture, calibration: Calibration) -> None:
    lens = calibration.lens
    if picture.shape[:2] != (lens.height, lens.width):
        raise HandEyeError(
            f"a picture of {picture.shape[1]}x{picture.shape[0]}, calibrated was {lens.width}x{lens.height}: set the driver's size as it was"
        )
