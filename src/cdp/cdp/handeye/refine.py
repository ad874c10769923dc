"""The camera's pose, and the board's in the hand, that bring the board's corners nearest to where they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from cdp.geometry import FloatArray
from cdp.handeye.board import Board
from cdp.handeye.errors import HandEyeError
from cdp.handeye.lens import Lens
from cdp.handeye.pose import Pose
from cdp.handeye.reprojection import Reprojection, View

# A corner that is off by more counts less and less (Huber): a view with a slip of the board must not bend the rest.
_HUBER_PX = 1.0
# From a closed form or a neighbour some ten do; what is still under way after these goes nowhere.
_MOST_STEPS = 100
# Below this typical error, the pictures' own, no deviation is believed.
_LEAST_PX = 0.05

#: Which of the 14 unknowns may change: the camera's pose, the mount's, the scale of the board, the factor of the focal lengths.
POSES, ALL = slice(0, 12), slice(0, 14)
_UNKNOWNS = 14


@dataclass(frozen=True)
class Fit:
    """``camera`` in the base, ``mount``: the board in the hand; ``scale`` of the board and
    ``focal``, the factor of the focal lengths, 1 unless they were left free.

    ``errors_px`` (M, 2): of all corners, view after view; ``deviation``: standard deviations of what was free,
    positions in [m] and rotations in [rad], by the errors that are left.
    """

    camera: Pose
    mount: Pose
    scale: float
    focal: float
    errors_px: FloatArray
    deviation: FloatArray


def refine(views: Sequence[View], board: Board, lens: Lens, camera: Pose, mount: Pose, free: slice = POSES) -> Fit:
    """Least squares of the reprojection error from a start, robust against single views. Raises :class:`HandEyeError` where nothing converges."""
    corners = Reprojection(views, board, lens)

    def at(values: FloatArray) -> tuple[Pose, Pose, float, float]:
        changes = np.zeros(_UNKNOWNS)
        changes[free] = values
        return camera.moved(changes[:6]), mount.moved(changes[6:12]), 1.0 + float(changes[12]), 1.0 + float(changes[13])

    def residuals(values: FloatArray) -> FloatArray:
        return corners.errors(*at(values)).ravel()

    def jacobian(values: FloatArray) -> FloatArray:
        changes = np.zeros(_UNKNOWNS)
        changes[free] = values
        by_move = corners.jacobian(*at(values))
        for turn in (slice(3, 6), slice(9, 12)):
            by_move[:, :, turn] = by_move[:, :, turn] @ _further_turn(changes[turn])
        return np.asarray(by_move.reshape(-1, _UNKNOWNS)[:, free])

    values = np.zeros(free.stop - free.start)
    # From far off the robust loss is nearly flat, so squares lead there first.
    for loss in ("linear", "huber"):
        found = least_squares(residuals, values, jacobian, loss=loss, f_scale=_HUBER_PX, x_scale="jac", max_nfev=_MOST_STEPS)
        values = found.x
    if not found.success:
        raise HandEyeError("the reprojection error finds no minimum: are all views of one set-up, and the joint states those of this arm?")
    errors = corners.errors(*at(found.x))
    return Fit(*at(found.x), errors, _deviation(found.jac, errors.ravel()))


def _further_turn(rotvec: FloatArray) -> FloatArray:
    """J (3, 3) with exp(rotvec + d) = exp(J d) exp(rotvec) for a small d: the left Jacobian of rotations (Sola et al., 2018, equation 145)."""
    angle = float(np.linalg.norm(rotvec))
    x, y, z = rotvec
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-4:
        return np.asarray(np.eye(3) + 0.5 * cross)
    return np.asarray(np.eye(3) + (1.0 - np.cos(angle)) / angle**2 * cross + (angle - np.sin(angle)) / angle**3 * cross @ cross)


def _deviation(jacobian: FloatArray, errors_px: FloatArray) -> FloatArray:
    """Standard deviations of the unknowns by the errors that are left; infinite where the views do not fix one."""
    share = len(errors_px) / max(1, len(errors_px) - jacobian.shape[1])
    # The typical error: one bad view must not make all unknowns look worse than they are.
    variance = share * max(1.4826 * float(np.median(np.abs(errors_px))), _LEAST_PX) ** 2
    size = np.linalg.norm(jacobian, axis=0)
    if not np.all(size > 0.0):
        return np.full(jacobian.shape[1], np.inf)
    values, vectors = np.linalg.eigh((jacobian / size).T @ (jacobian / size))
    if values[0] <= 1e-12:
        return np.full(jacobian.shape[1], np.inf)
    return np.asarray(np.sqrt(variance * np.sum(vectors**2 / values, axis=1)) / size)


def errors_of_views(views: Sequence[View], errors_px: FloatArray) -> FloatArray:
    """Root mean square (N,) of each view's errors [pixels], in the plane of the picture."""
    ends = np.cumsum([len(view.corners) for view in views])
    return np.array([rms(part) for part in np.split(errors_px, ends[:-1])])


def rms(errors_px: FloatArray) -> float:
    """Root mean square of the lengths of errors (M, 2)."""
    return float(np.sqrt(np.mean(np.sum(errors_px**2, axis=1))))
