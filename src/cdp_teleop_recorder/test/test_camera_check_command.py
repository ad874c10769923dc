"""`cdp camera-check` as a user runs it: a picture from a file or from a topic, a verdict, an exit status, a picture written."""

import argparse
import json
import threading

import cv2
import numpy as np
import pytest
import rclpy
from cdp_ros.domain import own_domain
from sensor_msgs.msg import CompressedImage, Image

from cdp.camera.reference import CameraError
from cdp_teleop_recorder.camera_check import live_picture, register_camera_check, run_camera_check


def scene():
    rng = np.random.default_rng(0)
    picture = np.full((120, 160, 3), 150, np.uint8)
    for _ in range(30):
        at = tuple(int(v) for v in rng.integers((160, 120)))
        cv2.circle(picture, at, int(rng.integers(4, 14)), rng.integers(0, 255, 3).tolist(), -1)
    return picture


def run(*words):
    parser = argparse.ArgumentParser()
    register_camera_check(parser.add_subparsers())
    return run_camera_check(parser.parse_args(["camera-check", *map(str, words)]))


def save(path, picture):
    cv2.imwrite(str(path), picture[..., ::-1])
    return path


def test_a_picture_from_a_file(tmp_path, capsys):
    reference = save(tmp_path / "before.png", scene())
    assert run(reference, "--image", reference, "-o", tmp_path / "out.png") == 0
    assert capsys.readouterr().out.startswith("same: ") and (tmp_path / "out.png").exists()
    moved = save(tmp_path / "now.png", np.roll(scene(), 5, axis=1))
    assert run(reference, "--image", moved, "-o", tmp_path / "out.png", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "moved" and told["shift_px"] == pytest.approx([5, 0], abs=0.2)
    assert told["picture"] == str(tmp_path / "out.png") and "turn the camera right" in told["advice"][0]
    black = save(tmp_path / "black.png", np.zeros_like(scene()))
    assert run(reference, "--image", black, "-o", tmp_path / "out.png", "--json") == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "unknown"


@pytest.mark.parametrize("tolerance", ["0", "30"])
def test_a_tolerance_outside_its_range_is_refused(tmp_path, tolerance):
    reference = save(tmp_path / "before.png", scene())
    with pytest.raises(CameraError, match=r"--tolerance .*20 %"):
        run(reference, "--image", reference, "--tolerance", tolerance)


@pytest.mark.parametrize("topic", ["/side/image_raw", "/side/image_raw/compressed"])
def test_a_picture_from_a_topic(monkeypatch, topic):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain()))
    picture = scene()
    if topic.endswith("compressed"):
        data = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
        message = CompressedImage(format="rgb8; png compressed bgr8", data=data)
    else:
        message = Image(height=120, width=160, step=480, encoding="rgb8", data=picture.tobytes())
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("camera", context=context)
    publisher, done = node.create_publisher(type(message), topic, 10), threading.Event()

    def publish():
        while not done.wait(0.02):
            publisher.publish(message)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        np.testing.assert_array_equal(live_picture(topic, 20.0), picture)
    finally:
        done.set()
        thread.join()
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_a_topic_that_is_silent_says_what_to_start(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain()))
    with pytest.raises(CameraError, match="nobody publishes it"):
        live_picture("/no/such/camera", 0.2)
