"""What a calibration is kept in and shown by: the board's print, the views' folder, the YAML, the overlay; and the check for a camera that moved."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml
from hand_eye_scene import CAMERA, LENS, MOUNT, Scene
from scipy.spatial.transform import Rotation

from cdp.config import ConfigError
from cdp.geometry import rotvec_to_matrix
from cdp.handeye.board import Board, write_board
from cdp.handeye.calibration import FORMAT, Calibration, Placed, Residuals, read_calibration, write_calibration
from cdp.handeye.capture import Stillness, elsewhere
from cdp.handeye.detect import Corners, find_corners
from cdp.handeye.errors import HandEyeError
from cdp.handeye.lens import Lens
from cdp.handeye.moved import offset
from cdp.handeye.overlay import Overlay
from cdp.handeye.pose import Pose
from cdp.handeye.shots import Shot, begin_folder, leave_out, load_board, load_shots, next_name, save_shot
from cdp.handeye.solve import solve

MS = 1_000_000


@pytest.fixture(scope="module")
def calibration():
    scene = Scene()
    solution = solve(list(scene.views(10, noise_px=0.05)), scene.board, LENS)
    camera, mount = Placed.of(solution.fit.camera, "fr3_link0", "agentview_optical_frame"), Placed.of(solution.fit.mount, "fr3_hand_tcp", "board")
    return Calibration(FORMAT, "2026-01-01T00:00:00Z", camera, mount, LENS, scene.board, Residuals.of(solution))


def test_the_print_has_the_size_it_says(tmp_path):
    """300 dots per inch: the corners on the sheet are a square apart, and the markers are the board's."""
    board = Board()
    write_board(board, tmp_path / "deep/board.png")
    sheet = cv2.imread(str(tmp_path / "deep/board.png"))
    assert sheet.shape == (2480, 3508, 3) or sheet.shape == (2480, 3507, 3)
    corners = find_corners(cv2.resize(sheet, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)[..., ::-1], board)
    assert len(corners) == 15
    flat = board.corners_m[corners.number, :2]
    dots_per_m = (np.ptp(corners.pixels, axis=0) / np.ptp(flat, axis=0)).mean()
    assert 2 * dots_per_m * 0.0254 == pytest.approx(300, rel=1e-3)
    line = np.flatnonzero((sheet[2150:, :, 0] < 128).sum(axis=0) > 0)
    longest = max(np.split(line, np.flatnonzero(np.diff(line) > 1) + 1), key=len)
    assert len(longest) / 300 * 25.4 == pytest.approx(100, abs=0.7)


def test_a_pdf_of_a_larger_board_has_a_larger_sheet(tmp_path):
    write_board(Board(columns=9, rows=6, square_m=0.05, marker_m=0.04), tmp_path / "board.pdf")
    page = (tmp_path / "board.pdf").read_bytes()
    (box,) = [line for line in page.splitlines() if b"/MediaBox" in line]
    width, height = (float(v) * 25.4 / 72 for v in box.split(b"[")[1].split(b"]")[0].split()[2:])
    assert width == pytest.approx(470, abs=1) and height == pytest.approx(340, abs=1)
    with pytest.raises(HandEyeError, match=r"\.pdf or \.png"):
        write_board(Board(), tmp_path / "board.svg")


def test_a_marker_that_fills_its_square_is_refused():
    with pytest.raises(ConfigError, match=r"marker_m: 0.04 is outside"):
        Board(marker_m=0.04)


def test_views_are_kept_as_they_were(tmp_path):
    scene, folder = Scene(board=Board(square_m=0.0415)), tmp_path / "views"
    begin_folder(folder, scene.board)
    hands = list(scene.hands(3))
    for k, hand in enumerate(hands):
        shot = Shot(next_name(folder), 5 + k, (0.1 * k, *([-1.0] * 6)), "agentview_optical_frame", LENS if k else None)
        save_shot(folder, shot, scene.picture(hand))
    assert load_board(folder) == scene.board
    shots = load_shots(folder)
    assert [(shot.name, shot.stamp_ns, shot.lens) for shot, _ in shots] == [("view_01", 5, None), ("view_02", 6, LENS), ("view_03", 7, LENS)]
    np.testing.assert_array_equal(shots[1][1], scene.picture(hands[1]))
    leave_out(folder, "view_03")
    assert len(load_shots(folder)) == 2 and next_name(folder) == "view_04" and (folder / "view_03.png").exists()
    begin_folder(folder, scene.board)
    assert len(load_shots(folder)) == 2
    with pytest.raises(HandEyeError, match=r"views of another board, 6x4 squares of 41\.5 mm"):
        begin_folder(folder, Board())


def test_a_view_without_its_picture_is_named(tmp_path):
    begin_folder(tmp_path, Board())
    save_shot(tmp_path, Shot("view_01", 1, (0.0,) * 7), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "view_01.png").unlink()
    with pytest.raises(HandEyeError, match=r"view_01.png.*rename"):
        load_shots(tmp_path)
    with pytest.raises(HandEyeError, match="hand-eye"):
        load_board(tmp_path / "nowhere")


def test_the_file_gives_the_calibration_back(tmp_path, calibration):
    path = tmp_path / "deep/hand_eye.yaml"
    write_calibration(calibration, path)
    assert read_calibration(path) == calibration
    camera = yaml.safe_load(path.read_text())["camera"]
    assert camera["parent_frame"] == "fr3_link0"
    # By another library: x y z w.
    turned = Rotation.from_quat(camera["quaternion_xyzw"]).as_matrix()
    np.testing.assert_allclose(turned, CAMERA.rotation, atol=2e-3)
    np.testing.assert_allclose(camera["position_m"], CAMERA.position_m, atol=2e-3)
    path.write_text(path.read_text().replace(FORMAT, "other"))
    with pytest.raises(HandEyeError, match="format"):
        read_calibration(path)


@pytest.mark.parametrize(("model", "count"), [((0.1,) * 3, 3), ((0.1,) * 12, 12)])
def test_a_lens_with_coefficients_that_are_not_understood_is_refused(model, count):
    with pytest.raises(ConfigError, match=f"{count} coefficients"):
        Lens(640, 480, 600.0, 600.0, 320.0, 240.0, model)


def test_a_camera_that_turned_by_one_degree_is_seen(calibration):
    """1 degree about the camera's own vertical: f tan(1 deg), 10.7 pixels, to the other side."""
    stays = Scene()
    (hand,) = stays.hands(1, seed=7)
    view = next(iter(replace(stays).views(1, noise_px=0.05, seed=7)))
    assert offset([view], calibration, MOUNT).rms_px < 0.5
    turned = replace(stays, camera=Pose(CAMERA.position_m, CAMERA.rotation @ rotvec_to_matrix([0.0, np.radians(1.0), 0.0])))
    found = offset([replace(view, corners=replace(view.corners, pixels=turned.pixels(hand)))], calibration, MOUNT)
    # The camera turned to the right: the board has gone left in the picture.
    assert found.mean_px[0] == pytest.approx(-LENS.fx * np.tan(np.radians(1.0)), rel=0.05) and abs(found.mean_px[1]) < 1.0


def test_a_board_put_in_anew_is_no_camera_that_moved(calibration):
    """Its place is found from the views; what the camera moved by does not hide in it."""
    anew = replace(Scene(), mount=Pose(np.array([0.03, -0.08, 0.1]), rotvec_to_matrix([0.5, -1.0, 1.5])))
    views = list(anew.views(8, noise_px=0.05))
    assert offset(views, calibration, MOUNT).rms_px > 50
    assert offset(views, calibration, solve(views, anew.board, LENS).fit.mount).rms_px < 0.5
    moved = replace(anew, camera=CAMERA.moved(np.array([0.0, 0.01, 0.0, 0.0, 0.0, 0.0])))
    views = [replace(view, corners=replace(view.corners, pixels=moved.pixels(view.hand))) for view in views]
    # 10 mm sideways at 0.55 to 0.85 m.
    assert LENS.fx * 0.01 / 0.85 * 0.9 < offset(views, calibration, solve(views, anew.board, LENS).fit.mount).rms_px < LENS.fx * 0.01 / 0.55


def test_the_overlay_draws_where_things_are():
    scene = Scene()
    (view,) = scene.views(1, noise_px=0.0)
    overlay = Overlay(np.full((480, 640, 3), 127, np.uint8), LENS, CAMERA)
    overlay.axes(view.hand, 0.08, "hand")
    overlay.axes(CAMERA @ Pose(np.array([0.0, 0.0, -1.0]), np.eye(3)), 0.1, "behind")
    overlay.corners(Corners(view.corners.number[:1], view.corners.pixels[:1]), scene.board, view.hand @ MOUNT)
    x, y = (round(2 * float(v) + 0.5) for v in view.corners.pixels[0])
    ring = overlay.picture[y, x - 8 : x + 9]
    assert (ring[[0, 16]] == [255, 220, 0]).all() or (np.abs(ring.astype(int) - [255, 220, 0]).sum(axis=-1) < 60).any()
    origin = LENS.project(CAMERA.inverse().points(view.hand.position_m))[0]
    end = LENS.project(CAMERA.inverse().points(view.hand.points(np.array([0.05, 0.0, 0.0]))))[0]
    x, y = (round(2 * float(v) + 0.5) for v in end)
    assert (np.abs(overlay.picture[y - 2 : y + 3, x - 2 : x + 3].astype(int) - [220, 40, 40]).sum(axis=-1) < 40).any() and np.isfinite(origin).all()
    overlay.lines(["one", "two"])
    assert overlay.picture.shape == (960 + 72, 1280, 3)


def test_the_arm_has_to_stand_still_before_the_picture():
    still, arm = Stillness(0.5), np.zeros(7)
    for k in range(100):  # 10 ms apart; moves at first, then stands from 0.3 s on
        arm = np.full(7, 0.02 * min(k, 30)) + 1e-4 * (-1) ** k
        still.see(k * 10 * MS, arm)
    assert still.at(700 * MS) is None  # moved at 0.2 s to 0.3 s
    assert still.at(810 * MS) == pytest.approx(np.full(7, 0.6), abs=1e-3)
    assert still.at(1000 * MS) is None  # no joints after it yet
    still.see(0, arm)  # a clock that begins anew
    assert still.at(810 * MS) is None


def test_a_slow_drift_is_no_rest():
    still = Stillness(0.5)
    for k in range(100):
        still.see(k * 10 * MS, np.full(7, 0.01 * k * 0.01 * 10))
    assert still.at(900 * MS) is None


def test_elsewhere_is_5_cm_or_8_degrees():
    here = Pose(np.array([0.5, 0.0, 0.3]), np.eye(3))
    assert elsewhere(here, [])
    assert not elsewhere(here.moved(np.array([0.04, 0.0, 0.0, 0.0, np.radians(7.0), 0.0])), [here])
    assert elsewhere(here.moved(np.array([0.06, 0.0, 0.0, 0.0, 0.0, 0.0])), [here])
    assert elsewhere(here.moved(np.array([0.0, 0.0, 0.0, np.radians(9.0), 0.0, 0.0])), [here])
