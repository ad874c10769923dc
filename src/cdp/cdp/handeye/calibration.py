"""The calibration's file: poses, lens, board, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cdp.config import ConfigError, dump, load, setting
from cdp.geometry import matrix_to_quat, quat_to_matrix
from cdp.handeye.board import Board
from cdp.handeye.errors import HandEyeError
from cdp.handeye.lens import Lens
from cdp.handeye.pose import Pose
from cdp.handeye.solve import Solution

FORMAT: Literal["cdp-hand-eye-1"] = "cdp-hand-eye-1"


@dataclass(frozen=True)
class Placed:
    """A pose of ``frame`` in ``parent_frame``."""

    parent_frame: str
    frame: str
    position_m: tuple[float, float, float] = setting(help="x y z")
    quaternion_xyzw: tuple[float, float, float, float] = setting(help="x y z w", low=-1.0, high=1.0)

    @classmethod
    def of(cls, pose: Pose, parent_frame: str, frame: str) -> Placed:
        """From a pose."""
        x, y, z = (float(v) for v in pose.position_m)
        qx, qy, qz, qw = (float(v) for v in matrix_to_quat(pose.rotation))
        return cls(parent_frame, frame, (x, y, z), (qx, qy, qz, qw))

    @property
    def pose(self) -> Pose:
        """As a pose."""
        return Pose(np.array(self.position_m), quat_to_matrix(self.quaternion_xyzw))


@dataclass(frozen=True)
class Residuals:
    """What is left: of the corners in the pictures, and of the camera's pose when one view after the other is left out."""

    views: int = setting(low=1, help="views used")
    left_out: tuple[str, ...] = setting(help="views that contradicted the others")
    rms_px: float = setting(help="distance of a corner from where it should be, root mean square")
    worst_view_px: float = setting(help="the same of the worst view")
    standard_error_mm: float = setting(help="of the camera's position, leave-one-out jackknife")
    standard_error_deg: float = setting(help="of its rotation")
    largest_change_mm: float = setting(help="of the camera's position when one view is left out")
    largest_change_deg: float = setting(help="of its rotation")
    board_scale: float = setting(help="size of the board by the arm's motion; 1: as said")
    focal_scale: float = setting(help="focal length by the arm's motion; 1: as said")

    @classmethod
    def of(cls, solution: Solution) -> Residuals:
        """From a solution."""
        changes = 1e3 * np.linalg.norm(solution.alone[:, :3], axis=1), np.degrees(np.linalg.norm(solution.alone[:, 3:], axis=1))
        return cls(
            views=len(solution.views),
            left_out=solution.left_out,
            rms_px=solution.rms_px,
            worst_view_px=float(solution.view_rms_px.max()),
            standard_error_mm=1e3 * float(np.linalg.norm(solution.error[:3])),
            standard_error_deg=float(np.degrees(np.linalg.norm(solution.error[3:]))),
            largest_change_mm=float(changes[0].max()),
            largest_change_deg=float(changes[1].max()),
            board_scale=solution.free.scale,
            focal_scale=solution.free.focal,
        )


@dataclass(frozen=True)
class Calibration:
    """``camera``: the optical frame (x right, y down, z forward) in the base; ``mount``: the board in the hand's frame; ``date``: UTC."""

    format: Literal["cdp-hand-eye-1"]
    date: str
    camera: Placed
    mount: Placed
    lens: Lens
    board: Board
    residuals: Residuals


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write it as YAML. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dump(calibration, path)


def read_calibration(path: Path) -> Calibration:
    """Raises :class:`HandEyeError`."""
    try:
        return load(Calibration, path)
    except ConfigError as error:
        raise HandEyeError(f"{error}; give a file that `cdp hand-eye` has written") from None
