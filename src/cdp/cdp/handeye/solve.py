"""From views to a calibration: closed form, refinement, views that do not belong, the checks that refuse it, how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cdp.geometry import FloatArray
from cdp.handeye.board import Board
from cdp.handeye.closed_form import camera_and_board
from cdp.handeye.detect import board_poses
from cdp.handeye.errors import HandEyeError
from cdp.handeye.lens import Lens
from cdp.handeye.pose import Pose, stack
from cdp.handeye.poses_enough import LEAST_VIEWS, turns_of
from cdp.handeye.refine import ALL, Fit, errors_of_views, refine, rms
from cdp.handeye.reprojection import View

# A view counts as out of place beyond so many pixels and so many times the median view; more of them than that share, and something else is wrong.
_OUT_PX, _OUT_TIMES, _OUT_SHARE = 1.5, 4.0, 0.25
_WORST_RMS_PX = 2.0
_SCALE_TOLERANCE, _FOCAL_TOLERANCE, _SIGMAS = 0.02, 0.01, 4.0
_WORST_POSITION_M, _WORST_TURN_RAD = 0.02, np.radians(2.0)
_ROUNDS = 3


@dataclass(frozen=True)
class Solution:
    """``views``: those used; ``left_out``: names of those that did not fit; ``view_rms_px`` (N,); ``rms_px`` over all corners used.

    Leave-one-out: ``alone`` (N, 6), how the camera's pose changes [m, rad] without each view; ``error`` (6,): the jackknife's standard error.
    ``free``: a fit in which board's size and focal length are free too: the arm's motion tells them, and 1 is what was said.
    """

    fit: Fit
    views: tuple[View, ...]
    left_out: tuple[str, ...]
    view_rms_px: FloatArray
    alone: FloatArray
    free: Fit

    @property
    def rms_px(self) -> float:
        """Root mean square of the distance between a corner and where it should be."""
        return rms(self.fit.errors_px)

    @property
    def error(self) -> FloatArray:
        """Standard error (6,) of the camera's position [m] and rotation [rad] by the jackknife (Efron)."""
        count = len(self.alone)
        return np.asarray(np.sqrt((count - 1) / count * np.sum((self.alone - self.alone.mean(axis=0)) ** 2, axis=0)))


def solve(views: Sequence[View], board: Board, lens: Lens) -> Solution:
    """Raises :class:`HandEyeError` for views that do not fix the camera's pose, contradict one another, or the board's size."""
    _refuse_too_few(views)
    camera, mount = _start(views, board, lens)
    fit = refine(views, board, lens, camera, mount)
    used, left_out = _belonging(views, fit)
    if left_out:
        _refuse_too_few(used)
        fit = refine(used, board, lens, fit.camera, fit.mount)
    free = refine(used, board, lens, fit.camera, fit.mount, ALL)
    _refuse_wrong_size(board, free)
    _refuse_misfit(fit)
    _refuse_wrong_lens(lens, free)
    _refuse_uncertain(used, fit)
    alone = [fit.camera.change_to(refine([*used[:k], *used[k + 1 :]], board, lens, fit.camera, fit.mount).camera) for k in range(len(used))]
    return Solution(fit, tuple(used), tuple(left_out), errors_of_views(used, fit.errors_px), np.stack(alone), free)


def _start(views: Sequence[View], board: Board, lens: Lens) -> tuple[Pose, Pose]:
    """The closed form; of a board's two possible poses the one that fits the others."""
    choices = [board_poses(view.corners, board, lens) for view in views]
    hands = stack([view.hand for view in views])
    chosen = stack([poses[0] for poses in choices])
    for _ in range(_ROUNDS):
        camera, mount = camera_and_board(hands, chosen)
        expected = camera.inverse() @ hands @ mount
        chosen = stack([poses[_nearest(poses, expected.rotation[k])] for k, poses in enumerate(choices)])
    return camera, mount


def _nearest(poses: Sequence[Pose], rotation: FloatArray) -> int:
    return int(np.argmin([np.sum((pose.rotation - rotation) ** 2) for pose in poses]))


def _belonging(views: Sequence[View], fit: Fit) -> tuple[list[View], list[str]]:
    errors = errors_of_views(views, fit.errors_px)
    limit = max(_OUT_PX, _OUT_TIMES * float(np.median(errors)))
    used = [view for view, error in zip(views, errors, strict=True) if error <= limit]
    left_out = [view.name for view, error in zip(views, errors, strict=True) if not error <= limit]
    if len(left_out) > _OUT_SHARE * len(views):
        raise HandEyeError(
            f"{len(left_out)} of {len(views)} views contradict the others ({', '.join(left_out)}): the board sits loose in the hand, or the camera "
            "moved between them; fix both and take the views anew"
        )
    return used, left_out


def _refuse_too_few(views: Sequence[View]) -> None:
    if len(views) < LEAST_VIEWS:
        raise HandEyeError(f"{len(views)} views with the board in them; at least {LEAST_VIEWS} are needed, 12 to 20 are good: take more")
    turns = turns_of(stack([view.hand for view in views]))
    if not turns.enough:
        raise HandEyeError(
            f"the hand turned by {turns.second_deg:.1f} degrees only about a second axis: a camera's pose needs turns about two; {turns.advice}"
        )


def _refuse_wrong_size(board: Board, free: Fit) -> None:
    if abs(free.scale - 1.0) > max(_SCALE_TOLERANCE, _SIGMAS * float(free.deviation[12])):
        raise HandEyeError(
            f"by the arm's motion a square of the board measures {1e3 * free.scale * board.square_m:.1f} mm, not {1e3 * board.square_m:.1f}: measure "
            "the print and say --square-mm with --from"
        )


def _refuse_wrong_lens(lens: Lens, free: Fit) -> None:
    if abs(free.focal - 1.0) > max(_FOCAL_TOLERANCE, _SIGMAS * float(free.deviation[13])):
        raise HandEyeError(
            f"by the arm's motion the focal length is {free.focal * lens.fx:.0f} pixels, not {lens.fx:.0f}: the camera would be put that much "
            "too near or too far: is camera_info for this camera at this size? Otherwise calibrate the lens (--intrinsics views, with tilted views)"
        )


def _refuse_misfit(fit: Fit) -> None:
    left = rms(fit.errors_px)
    if not left <= _WORST_RMS_PX:
        raise HandEyeError(
            f"no camera explains these views: {left:.1f} pixels are left, {_WORST_RMS_PX:.0f} are allowed; the board sits loose, the joint states "
            "are another arm's or another time's, or the intrinsics are not this camera's (--intrinsics views calibrates them from the views)"
        )


def _refuse_uncertain(views: Sequence[View], fit: Fit) -> None:
    position, turn = float(fit.deviation[:3].max()), float(fit.deviation[3:6].max())
    if not (position <= _WORST_POSITION_M and turn <= _WORST_TURN_RAD):
        advice = turns_of(stack([view.hand for view in views])).advice
        raise HandEyeError(
            f"these views leave the camera's pose open by {1e3 * position:.0f} mm and {np.degrees(turn):.1f} degrees: take more, nearer to the "
            f"camera and tilted against it; {advice}"
        )
