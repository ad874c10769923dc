"""`cdp hand-eye` as a user runs it, over real DDS: a camera and an arm that are made up, views taken, solved, solved again, checked."""

import _thread
import argparse
import io
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import rclpy
from cdp_ros.domain import own_domain
from cdp_ros.stamps import ns_to_stamp
from hand_eye_scene import Scene, apart, looking
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState

from cdp.config import ConfigError
from cdp.handeye.board import Board
from cdp.handeye.calibration import read_calibration
from cdp.handeye.capture import elsewhere
from cdp.handeye.errors import HandEyeError
from cdp.handeye.pose import Pose
from cdp_franka.kinematics import READY_RAD
from cdp_teleop_recorder.hand_eye.command import register_hand_eye, run_hand_eye
from cdp_teleop_recorder.hand_eye.ear import lens_of
from cdp_teleop_recorder.hand_eye.offline import hand_pose

STEP_NS = 20_000_000
# A board that looks away from the base, in front of the hand; a camera that looks at it.
READY = hand_pose(READY_RAD)
CAMERA = looking(READY.position_m + np.array([0.75, 0.05, 0.15]), READY.position_m + np.array([0.1, 0.0, 0.02]))
FACING = Pose(READY.position_m + np.array([0.1, -0.126, 0.084]), np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]))
SCENE = Scene(camera=CAMERA, mount=READY.inverse() @ FACING)


def poses(count, seed=0):
    """Joint positions around READY: the wrist turns, no two are alike, the board stays in the picture."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        joints = np.array(READY_RAD) + rng.uniform(-1, 1, 7) * [0.1, 0.05, 0.1, 0.05, 0.3, 0.35, 0.3]
        if elsewhere(hand_pose(joints), [hand_pose(other) for other in found]):
            found.append(joints)
    return found


class MadeUp:
    """Camera and arm on topics of their own domain; the arm goes on when a view of where it stands is in ``folder``."""

    def __init__(self, folder, scene=SCENE, info=True, compressed=False, by_folder=True):
        self.joints = poses(11)
        self.scene, self.folder, self.by_folder = scene, folder, by_folder
        self.pictures = [scene.picture(hand_pose(q)) for q in self.joints]
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("made_up", context=self._context)
        self._image = self._node.create_publisher(CompressedImage if compressed else Image, "/cam/image_raw" + "/compressed" * compressed, 10)
        self._joint = self._node.create_publisher(JointState, "/joint_states", 10)
        self._info = self._node.create_publisher(CameraInfo, "/cam/camera_info", 10) if info else None
        self._compressed, self._done = compressed, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _run(self):
        stamp_ns, lens, moving = 1_000_000_000, self.scene.lens, 0
        at = self.joints[0]
        while not self._done.wait(0.005):
            stamp_ns += STEP_NS
            taken = len([*Path(self.folder).glob("view_*.yaml")]) if self.by_folder else 0
            index = min(taken, len(self.joints) - 1)
            moving = 0 if np.array_equal(at, self.joints[index]) else 3
            at = self.joints[index]
            noise = 0.05 * moving
            stamp = ns_to_stamp(stamp_ns)
            state = JointState(name=["fr3_finger_joint1", *(f"fr3_joint{k}" for k in range(7, 0, -1))], position=[0.0, *(at[::-1] + noise)])
            picture = self.pictures[index]
            if self._compressed:
                image = CompressedImage(format="rgb8; png compressed bgr8", data=cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
            else:
                image = Image(height=480, width=640, step=1920, encoding="rgb8", data=picture.tobytes())
            state.header.stamp = image.header.stamp = stamp
            image.header.frame_id = "cam_optical_frame"
            if self._info is not None:
                info = CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=[0.0] * 5)
                info.k = [lens.fx, 0.0, lens.cx, 0.0, lens.fy, lens.cy, 0.0, 0.0, 1.0]
                self._info.publish(info)
            self._image.publish(image)
            self._joint.publish(state)


@pytest.fixture(autouse=True)
def _own_domain(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain()))


def run(*words):
    parser = argparse.ArgumentParser()
    register_hand_eye(parser.add_subparsers())
    return run_hand_eye(parser.parse_args(["hand-eye", *map(str, words)]))


def take(folder, *words, topic="/cam/image_raw"):
    return run("--auto", "--still-s", 0.1, "--image-topic", topic, "--folder", folder, *words)


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """A folder of 10 views, taken over DDS, and what was said."""
    folder = tmp_path_factory.mktemp("hand-eye") / "views"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(own_domain()))
        patch.setattr("sys.stdin", io.StringIO(""))
        said = io.StringIO()
        patch.setattr("sys.stdout", said)
        with MadeUp(folder):
            assert take(folder, "--views", 10) == 0
    return folder, said.getvalue()


def test_views_are_taken_and_the_camera_is_found(taken):
    folder, said = taken
    found = read_calibration(folder / "hand_eye.yaml")
    millimetres, degrees = apart(found.camera.pose, CAMERA)
    assert millimetres < 3.0 and degrees < 0.3 and found.residuals.rms_px < 0.4
    assert apart(found.mount.pose, SCENE.mount)[0] < 3.0
    assert found.camera.frame == "cam_optical_frame" and found.lens.source == "camera_info" and found.residuals.views == 10
    assert len([*folder.glob("view_*.png")]) == 10
    assert "10 of 10 views" in said and "static_transform_publisher" in said and "--frame-id fr3_link0" in said
    assert cv2.imread(str(folder / "overlay.png")).shape[1] == 1280


def test_a_folder_is_solved_again(taken, tmp_path, capsys):
    folder, _ = taken
    out = tmp_path / "again.yaml"
    assert run("--from", folder, "-o", out) == 0
    assert read_calibration(out).camera == read_calibration(folder / "hand_eye.yaml").camera
    assert "reprojection" in capsys.readouterr().out
    with pytest.raises(HandEyeError, match=r"measures 42\.\d mm, not 45"):
        run("--from", folder, "--square-mm", 45, "-o", out)
    assert len([*folder.glob("view_*.png")]) == 10


def test_a_live_check_sees_a_camera_that_turned(taken, tmp_path, capsys):
    folder, _ = taken
    words = ("--check", folder / "hand_eye.yaml", "--image-topic", "/cam/image_raw", "--still-s", 0.1, "-o", tmp_path / "check.png")
    with MadeUp(folder, by_folder=False):
        assert run(*words) == 0
    assert capsys.readouterr().out.startswith("same: ") and (tmp_path / "check.png").exists()
    turned = replace(SCENE, camera=CAMERA.moved(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.03])))
    with MadeUp(folder, turned, by_folder=False):
        assert run(*words) == 1
    assert "moved: the board is off by" in capsys.readouterr().out
    away = replace(SCENE, mount=Pose(SCENE.mount.position_m + np.array([0.0, 0.0, 5.0]), SCENE.mount.rotation))
    with MadeUp(folder, away, by_folder=False):
        assert run(*words) == 1
    assert "unknown: the board is not seen" in capsys.readouterr().out


def test_a_check_by_views_taken_since(taken, tmp_path, capsys):
    folder, _ = taken
    assert run("--check", folder / "hand_eye.yaml", "--from", folder, "-o", tmp_path / "check.png") == 0
    assert "the camera is 0.0 mm and 0.00 deg from where it was" in capsys.readouterr().out


def test_enter_takes_u_takes_back_q_ends(tmp_path, monkeypatch, capsys):
    """A compressed topic, no camera_info: three views are too few for a lens, and all of them are kept."""

    class Typed:
        """A terminal: each line comes when so many views are there."""

        def __iter__(self):
            for line, count in (("\n", 0), ("\n", 1), ("u\n", 2), ("\n", 1), ("q\n", 2)):
                deadline = time.monotonic() + 30
                while len([*(tmp_path / "views").glob("view_*.yaml")]) != count and time.monotonic() < deadline:
                    time.sleep(0.01)
                yield line

    monkeypatch.setattr("sys.stdin", Typed())
    topic = "/cam/image_raw/compressed"
    with MadeUp(tmp_path / "views", info=False, compressed=True), pytest.raises(HandEyeError, match="2 views are too few to calibrate the lens"):
        run("--still-s", 0.1, "--image-topic", topic, "--folder", tmp_path / "views")
    said = capsys.readouterr().out
    assert "camera_info is silent" in said and "view_02 taken back" in said
    assert {path.name for path in (tmp_path / "views").glob("view_*.yaml*")} == {"view_01.yaml", "view_02.yaml.left_out", "view_03.yaml"}
    # What was taken is gone on with.
    monkeypatch.setattr("sys.stdin", io.StringIO("q\n"))
    with MadeUp(tmp_path / "views"), pytest.raises(HandEyeError, match=r"2 views are too few[^\n]*\nthe views are kept: --folder"):
        run("--image-topic", "/cam/image_raw", "--folder", tmp_path / "views")
    assert "views, which has 2;" in capsys.readouterr().out


@pytest.fixture
def ctrl_c():
    """Python's own answer to SIGINT, whatever the process has for it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_keeps_the_views_and_says_how_to_go_on(tmp_path, monkeypatch, ctrl_c):
    ended = threading.Event()

    class Typed:
        def __iter__(self):
            yield "\n"
            deadline = time.monotonic() + 30
            while not (tmp_path / "views/view_01.yaml").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            # Again, as a person would: one that comes within a destructor is lost.
            while not ended.is_set():
                _thread.interrupt_main()
                ended.wait(2.0)

    monkeypatch.setattr("sys.stdin", Typed())
    with MadeUp(tmp_path / "views"), pytest.raises(KeyboardInterrupt, match=r"views are kept: cdp hand-eye --from"):
        try:
            run("--still-s", 0.1, "--image-topic", "/cam/image_raw", "--folder", tmp_path / "views")
        finally:
            ended.set()
    assert (tmp_path / "views/view_01.png").exists()


def test_what_does_not_come_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("cdp_teleop_recorder.hand_eye.take._SILENT_S", 0.2)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(HandEyeError, match="no picture comes on /no/such: start the camera"):
        take(tmp_path / "views", topic="/no/such")
    assert not (tmp_path / "views").exists()


def test_the_board_is_written(tmp_path, capsys):
    assert run("--board", tmp_path / "board.pdf", "--squares", "7x5", "--square-mm", 30) == 0
    assert (tmp_path / "board.pdf").read_bytes().startswith(b"%PDF") and "7x5 squares of 30 mm" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--views", 3), "--views 3"),
        (("--still-s", 0), "--still-s"),
        (("--tolerance", 0, "--check", "x"), "--tolerance"),
        (("--squares", "six", "--board", "b.pdf"), "--squares six"),
        (("--square-mm", 1, "--board", "b.pdf"), "square_m"),
        (("--from", "nowhere"), "nowhere"),
    ],
)
def test_what_is_out_of_range_is_refused(words, said):
    with pytest.raises((HandEyeError, ConfigError), match=said):
        run(*words)


def test_the_lens_of_camera_info():
    info = CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=[0.1, 0.0, 0.0, 0.0, 0.0])
    assert lens_of(info) is None  # not calibrated: K is zero
    info.k = [600.0, 0.0, 320.0, 0.0, 601.0, 240.0, 0.0, 0.0, 1.0]
    lens = lens_of(info)
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == (600.0, 601.0, 320.0, 240.0) and lens.distortion[0] == 0.1
    info.distortion_model = "equidistant"
    with pytest.raises(HandEyeError, match="equidistant"):
        lens_of(info)
    info.d = [0.0] * 4
    assert lens_of(info).distortion == ()


def test_the_default_board_is_the_one_that_is_printed():
    assert Board() == SCENE.board
