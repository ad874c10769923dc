"""The camera check on made-up scenes whose motion is known in closed form; rendered ones are in cdp_franka_sim/test/test_camera_moved.py."""

import cv2
import h5py
import numpy as np
import pytest

from cdp.camera.check import check_view
from cdp.camera.motion import find_motion
from cdp.camera.overlay import write_overlay
from cdp.camera.reference import CameraError, Reference, load_reference
from cdp.data.demos import DataError

SIZE = (160, 120)


def long(*case):
    """A case that `make test-long` runs."""
    return pytest.param(*case, marks=pytest.mark.long)


def scene(seed=0, size=SIZE, margin=40):
    """A picture with a margin all around, so that a motion brings in what was outside of it before."""
    rng = np.random.default_rng(seed)
    picture = np.full((size[1] + 2 * margin, size[0] + 2 * margin, 3), 150, np.uint8)
    for _ in range(60):
        at = tuple(int(v) for v in rng.integers(0, (picture.shape[1], picture.shape[0])))
        cv2.ellipse(
            picture, at, tuple(int(v) for v in rng.integers(4, 18, 2)), float(rng.integers(180)), 0, 360, rng.integers(0, 255, 3).tolist(), -1
        )
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


def view(picture, dx=0.0, dy=0.0, turn=0.0, scale=1.0, size=SIZE, margin=40):
    """The middle of the scene once the picture has gone right, down, and clockwise about the view's centre."""
    centre = (margin + 0.5 * (size[0] - 1), margin + 0.5 * (size[1] - 1))
    matrix = cv2.getRotationMatrix2D(centre, -turn, scale)
    matrix[:, 2] += (dx, dy)
    moved = cv2.warpAffine(picture, matrix, (picture.shape[1], picture.shape[0]), flags=cv2.INTER_CUBIC)
    return np.ascontiguousarray(moved[margin:-margin, margin:-margin])


def of(picture, still=None):
    return Reference(picture, still, picture.shape[:2], "made up")


@pytest.mark.parametrize(
    ("dx", "dy", "turn", "scale"),
    [(-17.5, 8.25, 0, 1), (4, 2, -8, 1), (-3, 5, 2, 0.96), *(long(*case) for case in [(0, 0, 0, 1), (5, -3, 0, 1), (0, 0, 3, 1), (0, 0, 0, 1.04)])],
)
def test_shift_turn_and_scale_are_those_that_were_made(dx, dy, turn, scale):
    picture = scene()
    motion = find_motion(view(picture), view(picture, dx, dy, turn, scale))
    np.testing.assert_allclose(motion.shift_px, [dx, dy], atol=0.15)
    assert motion.turn_deg == pytest.approx(turn, abs=0.1)
    assert motion.scale == pytest.approx(scale, abs=0.006)
    # The farthest corner, in closed form.
    corners = np.array([[x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]) * (np.array(SIZE) - 1)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    most = np.linalg.norm(scale * corners @ np.array([[c, s], [-s, c]]) + [dx, dy] - corners, axis=1).max()
    assert motion.most_px == pytest.approx(most, abs=0.7)


@pytest.mark.parametrize("gain", [0.4, long(0.8), 1.5])
def test_light_is_not_motion(gain):
    before = view(scene())
    x = np.linspace(0.5, 1.0, SIZE[0])[None, :, None]
    now = np.clip(before * gain * x + 5.0, 0, 255).astype(np.uint8)
    motion = find_motion(before, now)
    assert motion.most_px < 0.3
    assert motion.light == pytest.approx(now.mean() / before.mean(), rel=0.1)


def test_what_moves_by_itself_is_not_the_camera():
    before, now = view(scene()), view(scene())
    cv2.rectangle(before, (20, 20), (55, 60), (230, 30, 30), -1)
    cv2.rectangle(now, (80, 60), (115, 100), (230, 30, 30), -1)
    motion = find_motion(before, now)
    assert motion.most_px < 0.3 and 0.5 < motion.share < 0.95


def test_a_still_mask_keeps_out_what_is_known_to_move():
    """Half of the picture turns with the arm: without the mask it would be the majority."""
    picture, other = view(scene()), scene(1)
    before, now = picture.copy(), picture.copy()
    before[:, :95], now[:, :95] = view(other)[:, :95], view(other, 6, 3)[:, :95]
    still = np.zeros(picture.shape[:2], np.uint8)
    still[:, 97:] = 255
    assert find_motion(before, now, still).most_px < 0.3
    assert find_motion(before, now).most_px > 3.0


def test_parallel_edges_alone_leave_it_open():
    """A shift along the lines cannot be seen, so it must not be called the same."""
    lines = np.full((120, 160, 3), 200, np.uint8)
    lines[30:60] = 40
    lines[80:85] = 90
    check = check_view(of(lines), lines)
    assert check.verdict == "unknown" and "too little" in check.text


@pytest.mark.parametrize("now", ["black", long("noise"), "another"])
def test_a_view_of_something_else_is_not_called_the_same(now):
    rng = np.random.default_rng(0)
    pictures = {"black": np.zeros((120, 160, 3), np.uint8), "noise": rng.integers(0, 255, (120, 160, 3), dtype=np.uint8), "another": view(scene(9))}
    assert check_view(of(view(scene())), pictures[now]).verdict == "unknown"


def test_the_verdict_is_by_the_worst_corner():
    picture = scene()
    before = view(picture)
    assert check_view(of(before), view(picture, 1.4)).verdict == "same"
    moved = check_view(of(before), view(picture, 1.8))
    assert moved.verdict == "moved" and moved.tolerance_px == 1.6
    assert check_view(of(before), view(picture, 1.8), tolerance=0.02).verdict == "same"
    # A turn by 1.2 deg leaves the centre where it is, and moves a corner, 99.5 pixels away, by 2.1.
    assert check_view(of(before), view(picture, turn=1.2)).verdict == "moved"


@pytest.mark.parametrize(
    ("motion", "advice"),
    [
        long({"dx": 6}, "turn the camera right until the picture has moved by 6 pixels"),
        ({"dx": -6, "dy": -4}, "turn the camera left until the picture has moved by 6 pixels, and up until the picture has moved by 4"),
        ({"turn": 4}, "roll the camera clockwise by 4.0 deg"),
        long({"turn": -4}, "roll the camera counter-clockwise by 4.0 deg"),
        ({"scale": 1.05}, "move the camera back, by 5 %"),
        long({"scale": 0.95}, "move the camera closer, by 5 %"),
    ],
)
def test_the_advice_undoes_the_motion(motion, advice):
    picture = scene()
    assert advice in " ".join(check_view(of(view(picture)), view(picture, **motion)).advice)


def test_pixels_are_the_cameras_whatever_the_size_of_the_data_set():
    """A data set of 60x60, squashed from 160x120: found in pixels of the camera, and a turn stays a turn."""
    picture = scene()
    small = cv2.resize(view(picture), (60, 60), interpolation=cv2.INTER_AREA)
    check = check_view(Reference(small, None, (120, 160), "small"), view(picture, 6, -3, 3))
    np.testing.assert_allclose(check.motion.shift_px, [6, -3], atol=0.5)
    assert check.motion.turn_deg == pytest.approx(3, abs=0.4)


@pytest.mark.parametrize(("shape", "said"), [((120, 120, 3), "160x120"), ((60, 80, 3), "smaller")])
def test_a_view_that_cannot_be_compared_is_refused(shape, said):
    with pytest.raises(CameraError, match=said):
        check_view(of(view(scene())), np.zeros(shape, np.uint8))


def write_demos(path, pictures, camera_size=None):
    with h5py.File(path, "w") as file:
        for k, picture in enumerate(pictures):
            demo = file.create_group(f"data/demo_{k}")
            demo.attrs["num_samples"] = 1
            demo["obs/agentview_image"] = picture[None]
            if camera_size:
                demo["obs/agentview_image"].attrs["camera_size"] = camera_size


def test_the_reference_of_a_data_set_is_what_its_demonstrations_begin_with(tmp_path):
    plain = view(scene())
    pictures = [plain.copy() for _ in range(7)]
    for k, picture in enumerate(pictures):
        cv2.rectangle(picture, (10 + 18 * k, 50), (24 + 18 * k, 70), (255, 0, 0), -1)
    write_demos(tmp_path / "demos.hdf5", pictures, (480, 640))
    reference = load_reference(tmp_path / "demos.hdf5")
    assert reference.camera_size == (480, 640)
    np.testing.assert_array_equal(reference.picture, plain)  # no block is in most of them
    assert not reference.still[60, 17:140:18].any() and reference.still[100:110].all()


def test_references_of_other_kinds(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), view(scene())[..., ::-1])
    np.testing.assert_array_equal(load_reference(tmp_path / "a.png").picture, view(scene()))
    with pytest.raises(CameraError, match="no such file"):
        load_reference(tmp_path / "b.png")
    (tmp_path / "c.png").write_text("not a picture")
    with pytest.raises(CameraError, match="no picture"):
        load_reference(tmp_path / "c.png")
    write_demos(tmp_path / "demos.hdf5", [view(scene())])
    assert load_reference(tmp_path / "demos.hdf5").still is None
    with pytest.raises(CameraError, match="wrist"):
        load_reference(tmp_path / "demos.hdf5", "wrist")
    with h5py.File(tmp_path / "empty.hdf5", "w"):
        pass
    with pytest.raises(DataError):
        load_reference(tmp_path / "empty.hdf5")


@pytest.mark.parametrize("live", ["moved", "black"])
def test_the_overlay_shows_both(tmp_path, live):
    picture = scene()
    now = view(picture, 6, 0) if live == "moved" else np.zeros((120, 160, 3), np.uint8)
    check = check_view(of(view(picture)), now)
    write_overlay(check, tmp_path / "deep/overlay.png")
    written = cv2.imread(str(tmp_path / "deep/overlay.png"))
    assert written.shape[1] == 3 * 568 + 8
    # Upper left the reference, beside it the view, as they were compared.
    panel = cv2.resize(cv2.cvtColor(written[26 : 26 + 420, 576 : 576 + 560], cv2.COLOR_BGR2RGB), SIZE, interpolation=cv2.INTER_AREA)
    assert np.abs(panel.astype(int) - now).mean() < 3
