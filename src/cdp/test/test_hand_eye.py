"""The calibration of a fixed camera against a scene that is known: what is put in comes out, what cannot be known is refused.

Caught by this: a transform or quaternion the wrong way round, base and camera exchanged, a wrong scale, a pixel's corner taken for its centre.
"""

from dataclasses import replace

import numpy as np
import pytest
from hand_eye_scene import CAMERA, LENS, MOUNT, Scene, apart
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cdp.geometry import rotvec_to_matrix
from cdp.handeye.closed_form import camera_and_board
from cdp.handeye.detect import board_poses, find_corners, usable
from cdp.handeye.errors import HandEyeError
from cdp.handeye.intrinsics import lens_of_views
from cdp.handeye.pose import Pose, stack
from cdp.handeye.poses_enough import turns_of
from cdp.handeye.refine import refine
from cdp.handeye.reprojection import Reprojection, View
from cdp.handeye.solve import solve

triple = st.tuples(*[st.floats(-1.0, 1.0)] * 3).map(np.array)


@settings(max_examples=30, deadline=None)
@given(triple, triple, triple, triple, st.integers(0, 1000))
def test_the_closed_form_is_exact_without_noise(camera_at, camera_turn, mount_at, mount_turn, seed):
    camera, mount = Pose(camera_at, rotvec_to_matrix(2.0 * camera_turn)), Pose(0.2 * mount_at, rotvec_to_matrix(2.0 * mount_turn))
    rng = np.random.default_rng(seed)
    hands = Pose(rng.uniform(-0.5, 0.5, (8, 3)), Rotation.from_rotvec(rng.uniform(-0.7, 0.7, (8, 3))).as_matrix())
    found, board = camera_and_board(hands, camera.inverse() @ hands @ mount)
    assert max(apart(found, camera)) < 1e-6 and max(apart(board, mount)) < 1e-6


def test_the_derivatives_are_those_of_finite_differences():
    scene = Scene(lens=replace(LENS, distortion=(-0.2, 0.1, 0.002, -0.003, 0.01)))
    seen = Reprojection(list(scene.views(3)), scene.board, scene.lens)
    step, exact = 1e-6, seen.jacobian(CAMERA, MOUNT, 1.1, 0.9)
    for k in range(14):
        ends = []
        for change in (step * np.eye(14)[k], -step * np.eye(14)[k]):
            ends.append(seen.errors(CAMERA.moved(change[:6]), MOUNT.moved(change[6:12]), 1.1 + change[12], 0.9 + change[13]))
        np.testing.assert_allclose(exact[:, :, k], (ends[0] - ends[1]) / (2 * step), rtol=1e-4, atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_refined_from_a_start_that_is_off_by_5_cm_and_10_degrees(seed):
    scene = Scene()
    views = list(scene.views(8, noise_px=0.0, seed=seed))
    rng = np.random.default_rng(seed)
    near = CAMERA.moved(rng.uniform(-1, 1, 6) * np.array([0.05] * 3 + [0.1] * 3))
    fit = refine(views, scene.board, LENS, near, MOUNT)
    assert max(apart(fit.camera, CAMERA)) < 1e-4 and max(apart(fit.mount, MOUNT)) < 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_noise_of_a_tenth_of_a_pixel_costs_less_than_a_millimetre(seed):
    scene = Scene()
    found = solve(list(scene.views(15, noise_px=0.1, seed=seed)), scene.board, LENS)
    millimetres, degrees = apart(found.fit.camera, CAMERA)
    assert millimetres < 1.0 and degrees < 0.1
    # Noise in two directions, 24 of 450 numbers fitted away.
    assert found.rms_px == pytest.approx(0.1 * np.sqrt(2), rel=0.15)
    assert found.left_out == ()
    assert found.free.scale == pytest.approx(1.0, abs=4 * found.free.deviation[12])
    assert found.free.focal == pytest.approx(1.0, abs=4 * found.free.deviation[13])
    # What it says of its own error is of the size of the error.
    assert 0.1 * millimetres < 1e3 * np.linalg.norm(found.error[:3]) < 1.0
    assert np.abs(found.alone).max() > 0.0 and len(found.alone) == 15


def test_the_deviations_tell_the_error():
    """Over 20 draws of the noise the camera's scatter is what each draw says of itself, within a factor of 1.6."""
    scene = Scene()
    hands = list(scene.hands(10, 5))
    pixels, rng, found, said = [scene.pixels(hand) for hand in hands], np.random.default_rng(3), [], []
    clean = list(scene.views(10, noise_px=0.0, seed=5))
    for _ in range(20):
        views = [
            replace(view, corners=replace(view.corners, pixels=p + 0.3 * rng.normal(size=p.shape))) for view, p in zip(clean, pixels, strict=True)
        ]
        fit = refine(views, scene.board, LENS, CAMERA, MOUNT)
        found.append(CAMERA.change_to(fit.camera))
        said.append(fit.deviation[:6])
    ratio = np.sqrt(np.mean(np.square(found), axis=0)) / np.mean(said, axis=0)
    assert np.all(ratio > 1 / 1.6) and np.all(ratio < 1.6), ratio


def test_a_slipped_board_is_left_out_and_named():
    scene = Scene()
    views = list(scene.views(15))
    slipped = replace(scene, mount=MOUNT.moved(np.array([0.01, 0.0, 0.0, 0.0, 0.05, 0.0])))
    views[4] = replace(views[4], corners=replace(views[4].corners, pixels=slipped.pixels(views[4].hand)))
    found = solve(views, scene.board, LENS)
    assert found.left_out == ("view_05",) and len(found.views) == 14
    assert apart(found.fit.camera, CAMERA)[0] < 1.0


def test_views_that_contradict_one_another_are_refused():
    scene, rng = Scene(), np.random.default_rng(0)
    loose = []
    for view in scene.views(12):
        slip = MOUNT.moved(rng.uniform(-1, 1, 6) * np.array([0.02] * 3 + [0.15] * 3))
        loose.append(replace(view, corners=replace(view.corners, pixels=replace(scene, mount=slip).pixels(view.hand))))
    with pytest.raises(HandEyeError, match=r"contradict|pixels are left"):
        solve(loose, scene.board, LENS)


@pytest.mark.parametrize("about", [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)])
def test_turns_about_one_axis_only_are_refused(about):
    scene = Scene()
    with pytest.raises(HandEyeError, match=r"turns about two; turn the hand about its [xyz] axis too"):
        solve(list(scene.views(15, about=about)), scene.board, LENS)


@pytest.mark.parametrize(("turned", "lacking"), [((1, 1, 0), "z"), ((0, 1, 1), "x"), ((1, 0, 1), "y")])
def test_the_advice_names_the_axis_that_lacks(turned, lacking):
    rng = np.random.default_rng(0)
    turns = np.array(turned) * rng.uniform(-0.5, 0.5, (10, 3))
    advice = turns_of(Pose(np.zeros((10, 3)), rotvec_to_matrix(turns))).advice
    assert f"about its {lacking} axis" in advice


def test_too_few_views_are_refused():
    scene = Scene()
    with pytest.raises(HandEyeError, match=r"5 views .* at least 6"):
        solve(list(scene.views(5)), scene.board, LENS)


@pytest.mark.parametrize("printed", [0.95, 1.06])
def test_a_print_of_another_size_is_told_by_the_arms_motion(printed):
    """A board printed at 95 %: the views agree with one another, and with a camera in the wrong place."""
    true = Scene()
    small = replace(true, board=replace(true.board, square_m=printed * true.board.square_m, marker_m=printed * true.board.marker_m))
    with pytest.raises(HandEyeError, match=f"measures {printed * 42:.1f} mm, not 42.0"):
        solve(list(small.views(15)), true.board, LENS)
    assert apart(solve(list(small.views(15)), small.board, LENS).fit.camera, CAMERA)[0] < 1.0


def mirrored(pose):
    flip = np.diag([1.0, -1.0, 1.0])
    return Pose(flip @ pose.position_m, flip @ pose.rotation @ flip)


@pytest.mark.parametrize(
    "mistake", [Pose.inverse, mirrored, lambda pose: replace(pose, position_m=1e3 * pose.position_m)], ids=["inverse", "mirror", "mm"]
)
def test_hand_poses_with_a_mistake_are_refused(mistake):
    """The hand's inverse pose, another handedness, millimetres for metres."""
    scene = Scene()
    views = [replace(view, hand=mistake(view.hand)) for view in scene.views(15)]
    with pytest.raises(HandEyeError):
        solve(views, scene.board, LENS)


@pytest.mark.parametrize("factor", [0.97, 1.03, 1.3])
def test_the_wrong_focal_length_is_refused(factor):
    """3 % of it leave 0.3 pixels, and put the camera off by 20 mm."""
    scene = Scene()
    with pytest.raises(HandEyeError, match=r"focal length is 61\d pixels, not|intrinsics"):
        solve(list(scene.views(15)), scene.board, replace(LENS, fx=factor * LENS.fx, fy=factor * LENS.fy))


def test_the_lens_from_the_views():
    true = replace(LENS, distortion=(-0.15, 0.05, 0.0, 0.0, 0.0))
    scene = Scene(lens=true, distance_m=0.5)
    views = list(scene.views(20, noise_px=0.1))
    lens = lens_of_views([view.corners for view in views], scene.board, 640, 480)
    assert lens.source == "views"
    assert (lens.fx, lens.fy) == pytest.approx((true.fx, true.fy), rel=0.01) and (lens.cx, lens.cy) == pytest.approx((true.cx, true.cy), abs=6)
    found = solve(views, scene.board, lens)
    assert apart(found.fit.camera, CAMERA)[0] < 10.0
    with pytest.raises(HandEyeError, match="too few"):
        lens_of_views([view.corners for view in views[:5]], scene.board, 640, 480)
    with pytest.raises(HandEyeError, match="focal length open"):
        lens_of_views([v.corners for v in scene.views(10, noise_px=0.3, tilt_deg=3.0)], scene.board, 640, 480)


def test_corners_are_found_where_they_are():
    """Pixel centres are whole numbers: half a pixel of mistake shows as a bias of half a pixel."""
    scene = Scene()
    off = []
    for hand in scene.hands(4):
        corners = find_corners(scene.picture(hand), scene.board)
        assert len(corners) >= 12 and usable(corners, scene.board)
        off.append(corners.pixels - scene.pixels(hand)[corners.number])
        nearest = board_poses(corners, scene.board, LENS)[0]
        assert apart(nearest, CAMERA.inverse() @ hand @ MOUNT)[0] < 20.0
    off = np.concatenate(off)
    assert np.abs(off.mean(axis=0)).max() < 0.05 and np.abs(off).max() < 0.4


def test_a_picture_without_a_board_has_no_corners():
    corners = find_corners(np.full((480, 640, 3), 127, np.uint8), Scene().board)
    assert len(corners) == 0 and not usable(corners, Scene().board)


def test_corners_on_a_line_fix_no_pose():
    scene = Scene()
    (view,) = scene.views(1)
    board = replace(scene.board, columns=9)
    line = replace(view.corners, number=np.arange(8), pixels=view.corners.pixels[:8])
    assert not usable(line, board)
    assert usable(replace(line, number=np.array([0, 1, 2, 3, 8, 9, 10, 11])), board)


def test_a_point_behind_the_camera_has_no_pixel():
    pixels = LENS.project([[0.0, 0.0, -1.0], [0.1, 0.2, 2.0]])
    assert np.isnan(pixels[0]).all()
    np.testing.assert_allclose(pixels[1], [LENS.cx + LENS.fx * 0.05, LENS.cy + LENS.fy * 0.1])
    behind = [View("view_01", CAMERA @ Pose(np.array([0.0, 0.0, -0.5]), np.eye(3)) @ MOUNT.inverse(), next(iter(Scene().views(1))).corners)]
    assert np.all(Reprojection(behind, Scene().board, LENS).errors(CAMERA, MOUNT) > 1e3)


def test_poses_multiply_as_matrices_do():
    rng = np.random.default_rng(0)

    def matrix(pose):
        full = np.eye(4)
        full[:3, :3], full[:3, 3] = pose.rotation, pose.position_m
        return full

    a, b = (Pose(rng.normal(size=3), rotvec_to_matrix(rng.normal(size=3))) for _ in range(2))
    np.testing.assert_allclose(matrix(a @ b.inverse()), matrix(a) @ np.linalg.inv(matrix(b)), atol=1e-12)
    np.testing.assert_allclose(matrix(a.moved(a.change_to(b))), matrix(b), atol=1e-12)
    np.testing.assert_allclose(matrix((a @ stack([b, a]))[0]), matrix(a) @ matrix(b), atol=1e-12)
