"""A folder of views to a calibration: detect, compute the hand's poses, solve, write, say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from cdp.camera.features import Picture
from cdp.handeye.board import Board
from cdp.handeye.calibration import FORMAT, Calibration, Placed, Residuals, write_calibration
from cdp.handeye.detect import Corners, find_corners, usable
from cdp.handeye.errors import HandEyeError
from cdp.handeye.intrinsics import lens_of_views
from cdp.handeye.lens import Lens
from cdp.handeye.overlay import Overlay
from cdp.handeye.pose import Pose
from cdp.handeye.reprojection import View
from cdp.handeye.shots import Shot, load_shots
from cdp.handeye.solve import solve
from cdp_franka.kinematics import forward

BASE_FRAME, HAND_FRAME = "fr3_link0", "fr3_hand_tcp"
CALIBRATION_FILE, OVERLAY_FILE = "hand_eye.yaml", "overlay.png"
_GOOD_VIEWS, _GOOD_PX, _GOOD_MM, _GOOD_DEG = 12, 1.0, 3.0, 0.3
_FRAME = "agentview_optical_frame"
_LEGEND = "axes: x red, y green, z blue; corners: rings as seen, crosses as expected"


def hand_pose(joint_rad: Sequence[float]) -> Pose:
    """``fr3_hand_tcp`` in ``fr3_link0`` at joint angles (7,)."""
    return Pose(*forward(joint_rad))


def views_of(taken: Sequence[tuple[Shot, Picture]], board: Board) -> list[View]:
    """The views with enough of the board in them."""
    views = [View(shot.name, hand_pose(shot.joint_position_rad), find_corners(picture, board)) for shot, picture in taken]
    return [view for view in views if usable(view.corners, board)]


def solve_folder(folder: Path, board: Board, intrinsics: str, out: Path, overlay: Path) -> str:
    """Write calibration and overlay; the summary. Raises :class:`HandEyeError`; the views stay where they are."""
    taken = load_shots(folder)
    if not taken:
        raise HandEyeError(f"{folder}: no views; they are taken by `cdp hand-eye` without --from")
    views = views_of(taken, board)
    lens = _lens(taken, [view.corners for view in views], board, intrinsics)
    solution = solve(views, board, lens)
    frame = taken[-1][0].camera_frame or _FRAME
    calibration = Calibration(
        format=FORMAT,
        date=f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        camera=Placed.of(solution.fit.camera, BASE_FRAME, frame),
        mount=Placed.of(solution.fit.mount, HAND_FRAME, "board"),
        lens=lens,
        board=board,
        residuals=Residuals.of(solution),
    )
    write_calibration(calibration, out)
    last = solution.views[-1]
    picture = next(picture for shot, picture in taken if shot.name == last.name)
    lines = _summary(calibration, len(taken))
    draw(picture, calibration, last.hand, calibration.mount.pose, last.corners, lines[:2], overlay)
    return "\n".join(
        [*lines, f"wrote {out}; look at {overlay}: crosses on rings, axes where base, hand and board are", _transform(calibration.camera)]
    )


def draw(picture: Picture, calibration: Calibration, hand: Pose, mount: Pose, seen: Corners, lines: Sequence[str], path: Path) -> None:
    """Base, hand, board and corners drawn into a picture, written to ``path``. Raises OSError."""
    overlay = Overlay(picture, calibration.lens, calibration.camera.pose)
    board = hand @ mount
    overlay.axes(Pose(np.zeros(3), np.eye(3)), 0.15, BASE_FRAME)
    overlay.axes(board, 2.0 * calibration.board.square_m, "board")
    overlay.axes(hand, 0.08, HAND_FRAME)
    if len(seen):
        overlay.corners(seen, calibration.board, board)
    overlay.lines([*lines, _LEGEND])
    overlay.write(path)


def _lens(taken: Sequence[tuple[Shot, Picture]], corners: Sequence[Corners], board: Board, intrinsics: str) -> Lens:
    sizes = {(picture.shape[1], picture.shape[0]) for _, picture in taken}
    if len(sizes) != 1:
        raise HandEyeError(
            f"pictures of different sizes in one folder: {', '.join(f'{w}x{h}' for w, h in sorted(sizes))}; take them with one setting"
        )
    ((width, height),) = sizes
    known = {shot.lens for shot, _ in taken if shot.lens is not None}
    if intrinsics == "views" or not known:
        return lens_of_views(corners, board, width, height)
    lens = taken[-1][0].lens
    if len(known) > 1 or lens is None:
        raise HandEyeError("camera_info changed between the views: take them with one setting, or say --intrinsics views")
    if (lens.width, lens.height) != (width, height):
        raise HandEyeError(
            f"camera_info is for {lens.width}x{lens.height}, the pictures are {width}x{height}: mend the driver, or --intrinsics views"
        )
    return lens


def _summary(calibration: Calibration, taken: int) -> list[str]:
    at, left, lens = calibration.camera, calibration.residuals, calibration.lens
    x, y, z = at.position_m
    quaternion = " ".join(f"{v:+.5f}" for v in at.quaternion_xyzw)
    lines = [
        f"camera in {BASE_FRAME}: {x:+.4f} {y:+.4f} {z:+.4f} m, quaternion xyzw {quaternion}",
        f"reprojection {left.rms_px:.2f} px rms over {left.views} of {taken} views, {left.worst_view_px:.2f} in the worst; standard error "
        f"{left.standard_error_mm:.1f} mm, {left.standard_error_deg:.2f} deg",
        f"leave-one-out: {left.largest_change_mm:.1f} mm, {left.largest_change_deg:.2f} deg at most; by the arm's motion the squares measure "
        f"{left.board_scale:.4f} and the focal length {left.focal_scale:.4f} of what was said",
        f"lens ({lens.source}): fx {lens.fx:.1f} fy {lens.fy:.1f} cx {lens.cx:.1f} cy {lens.cy:.1f} px",
    ]
    if left.left_out:
        lines.append(f"left out, they contradict the others: {', '.join(left.left_out)}")
    if left.views < _GOOD_VIEWS or left.rms_px > _GOOD_PX or left.standard_error_mm > _GOOD_MM or left.standard_error_deg > _GOOD_DEG:
        lines.append(
            f"  -> usable, not good ({_GOOD_VIEWS} views, {_GOOD_PX:.0f} px, {_GOOD_MM:.0f} mm and {_GOOD_DEG} deg are): more views, nearer, tilted "
            "more; a stiff board that cannot slip in the hand"
        )
    return lines


def _transform(camera: Placed) -> str:
    (x, y, z), (qx, qy, qz, qw) = camera.position_m, camera.quaternion_xyzw
    return (
        f"  ros2 run tf2_ros static_transform_publisher --x {x:.6f} --y {y:.6f} --z {z:.6f} --qx {qx:.6f} --qy {qy:.6f} --qz {qz:.6f} --qw {qw:.6f} "
        f"--frame-id {camera.parent_frame} --child-frame-id {camera.frame}"
    )
