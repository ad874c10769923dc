"""The panel as a process over DDS: it hears, it shows, it ends, and nothing waits for it."""

import signal
import socket
import subprocess
import sys

import cv2
import numpy as np
import pytest
from panel_process import PANEL, PanelProcess, free_port
from recorder_robot import DEADLINE_S, Robot, record

ROS_ARGS = [sys.executable, "-c", PANEL, "--ros-args"]


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture
def panel(robot, tmp_path):
    panel = PanelProcess(robot, tmp_path)
    yield panel
    panel.close()


def test_a_port_in_use_is_one_line_that_names_it_and_the_parameter(panel):
    done = subprocess.run([*ROS_ARGS, "-p", f"port:={panel.port}"], capture_output=True, text=True, timeout=DEADLINE_S)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2 and f"port {panel.port} of 127.0.0.1 is in use" in line and "port:=" in line and "ss -ltnp" in line


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (["port:=0"], "port out of range"),
        (["image_transport:=theora"], "image_transport: 'theora'"),
        (["cameras:=[wrist]"], "camera.wrist.topic: missing"),
        (["host:=203.0.113.1"], "cannot be served at 203.0.113.1"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(parameters, said):
    flags = [part for argument in (f"port:={free_port()}", *parameters) for part in ("-p", argument)]
    done = subprocess.run([*ROS_ARGS, *flags], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_with_a_connection_open_and_frees_the_port(panel, number):
    with socket.create_connection(("127.0.0.1", panel.port)) as held:
        held.sendall(b"GET / HTTP/1.1\r\n")
        status, said = panel.end(number)
    assert status == 0 and "Traceback" not in said and "lets anyone" not in said
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", panel.port))


def test_the_page_is_for_this_machine_unless_told_otherwise_and_then_it_warns(robot, panel, tmp_path):
    listening = subprocess.run(["ss", "-ltnH", f"sport = :{panel.port}"], capture_output=True, text=True).stdout if _has_ss() else ""
    assert not listening or f"127.0.0.1:{panel.port}" in listening
    assert panel.get("/", Host="evil.example")[0] == 403 and panel.get("/", Origin="http://evil.example")[0] == 403
    assert panel.get("/_nicegui_ws/socket.io/?EIO=4&transport=polling", Origin="http://evil.example")[0] == 403
    opened = PanelProcess(robot, tmp_path, "host:=0.0.0.0")
    try:
        status, said = opened.end()
        assert status == 0 and "lets anyone on that network control the recording" in said
    finally:
        opened.close()


def _has_ss():
    return subprocess.run(["sh", "-c", "command -v ss"], capture_output=True).returncode == 0


def test_no_path_leads_out_of_the_folder(panel, tmp_path):
    (tmp_path.parent / "secret.hdf5").write_bytes(b"secret")
    for path in ("/thumbnail/kept/..%2Fsecret.hdf5", "/thumbnail/..%2F/secret.hdf5", "/thumbnail/kept/%2Fetc%2Fpasswd", "/camera/9", "/camera/-1"):
        assert panel.get(path)[0] == 404, path


def test_nobody_waits_for_a_panel_that_hangs(robot, panel, tmp_path):
    """The panel is stopped in the middle of everything: the recorder loses nothing and answers."""
    robot.launch(tmp_path)
    panel.process.send_signal(signal.SIGSTOP)
    stamps = record(robot, 100)
    done = robot.call(robot.stop_client, keep=True, task_success=True)
    assert done.success and done.frames == 10 and done.verdict == "good", done.message
    panel.process.send_signal(signal.SIGCONT)
    name = done.path.rsplit("/", 1)[-1]
    robot.until(lambda: panel.get(f"/thumbnail/kept/{name}")[0] == 200, "the thumbnail")
    picture = cv2.imdecode(np.frombuffer(panel.get(f"/thumbnail/kept/{name}")[1], np.uint8), cv2.IMREAD_COLOR)
    # The sixth of ten pictures, each as bright as its number.
    assert picture.shape == (120, 160, 3) and abs(int(picture.mean()) - 60) <= 2 and len(stamps) == 100
    assert panel.end()[0] == 0


def test_cameras_are_taken_from_only_while_somebody_looks(robot, panel):
    """The page is read but nobody opened it: the camera has no subscriber, so a panel beside a recorder costs the camera nothing."""
    for _ in range(20):
        robot.moment(robot.now_ns(), 0, 5)
        robot.executor.spin_once(timeout_sec=0.01)
        panel.get("/")
    assert robot.publishers["image"].get_subscription_count() == 0
    assert panel.get("/camera/0")[0] == 404
