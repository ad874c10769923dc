"""Has a calibrated camera moved: where the board is seen, against where arm and calibration say that it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cdp.geometry import FloatArray
from cdp.handeye.calibration import Calibration
from cdp.handeye.pose import Pose
from cdp.handeye.refine import rms
from cdp.handeye.reprojection import Reprojection, View


@dataclass(frozen=True)
class Offset:
    """Where corners are seen less where they should be: ``mean_px`` (2,), right and down; ``most_px``: of the worst corner; ``rms_px``."""

    mean_px: FloatArray
    most_px: float
    rms_px: float


def offset(views: Sequence[View], calibration: Calibration, mount: Pose) -> Offset:
    """The offset with the camera where it was calibrated and the board at ``mount`` in the hand.

    One view cannot tell a camera that moved from a board that sits otherwise in the hand: ``mount`` is the calibration's where nobody touched the
    board, or that of a solution from views taken since.
    """
    errors = -Reprojection(views, calibration.board, calibration.lens).errors(calibration.camera.pose, mount)
    return Offset(errors.mean(axis=0), float(np.linalg.norm(errors, axis=1).max()), rms(errors))
