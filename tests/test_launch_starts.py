"""Which processes the launch files start, and what they tell them. Every executable is a stand-in that notes its arguments, so nothing is installed.

Caught by this: a node missing or too many, an argument that does not arrive, a topic not renamed, a missing package not named.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
OURS = {
    "cdp_policy_node": ["guard_node", "policy_node", "gripper_node"],
    "cdp_teleop_recorder": ["teleop_node", "recorder_node", "replay_node", "panel_node"],
    "cdp_franka_sim": ["sim_node", "scripted_operator", "episode_runner"],
}
OTHERS = {
    "franka_bringup": ["franka_bringup"],
    "controller_manager": ["spawner"],
    "cdp_franka_driver": ["franka_driver", "franka_hand"],
    "realsense2_camera": ["realsense2_camera_node"],
    "v4l2_camera": ["v4l2_camera_node"],
    "spacenav": ["spacenav_node"],
}
# Notes what it was told; the guard, with which every one of these launches ends, waits until all that is expected has done so.
STAND_IN = """#!{python} -IS
import json, os, pathlib, signal, sys, time
notes = pathlib.Path(os.environ["NOTES"])
words = sys.argv[1:]
files = [pathlib.Path(words[i + 1]) for i, word in enumerate(words) if word == "--params-file"]
made = notes / (pathlib.Path(sys.argv[0]).name + ".part")
made.write_text(json.dumps({{"words": words, "files": [f.name for f in files], "texts": [f.read_text() for f in files]}}))
made.rename(notes / pathlib.Path(sys.argv[0]).name)
if pathlib.Path(sys.argv[0]).name != "guard_node":
    signal.pause()
deadline = time.monotonic() + 20
while not all((notes / name).exists() for name in os.environ["EXPECTED"].split()):
    if time.monotonic() > deadline:
        sys.exit("not started: " + " ".join(n for n in os.environ["EXPECTED"].split() if not (notes / n).exists()))
    time.sleep(0.02)
"""
FRANKA_LAUNCH = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
def generate_launch_description():
    names = ["robot_ip", "robot_type", "load_gripper", "controllers_yaml", "joint_state_rate"]
    told = [[name + "=", LaunchConfiguration(name)] for name in names]
    node = Node(package="franka_bringup", executable="franka_bringup", arguments=told)
    return LaunchDescription([*(DeclareLaunchArgument(name) for name in names), node])
"""


class Bench:
    """A prefix of stand-ins, and launches in it."""

    def __init__(self, folder: Path, missing: tuple[str, ...] = ()) -> None:
        self.prefix, self.notes = folder / "prefix", folder / "notes"
        self.notes.mkdir()
        for package, executables in {**OURS, **OTHERS}.items():
            if package not in missing:
                self._package(package, executables)
        share = self.prefix / "share/cdp_policy_node"
        # Files one by one: the genuine `ros2 launch` looks into no folder that is a link.
        for folder in ("launch", "config"):
            (share / folder).mkdir()
            for path in (ROOT / folder).iterdir():
                (share / folder / path.name).symlink_to(path)
        driver = share / "config/driver.yaml"
        if not driver.exists():
            driver.write_text("/**: {ros__parameters: {}}\n")
        if "franka_bringup" not in missing:
            (self.prefix / "share/franka_bringup/launch").mkdir()
            (self.prefix / "share/franka_bringup/launch/franka.launch.py").write_text(FRANKA_LAUNCH)

    def _package(self, name: str, executables: list[str]) -> None:
        index = self.prefix / "share/ament_index/resource_index/packages"
        for folder in (index, self.prefix / "share" / name, self.prefix / "lib" / name):
            folder.mkdir(parents=True, exist_ok=True)
        (index / name).touch()
        for executable in executables:
            path = self.prefix / "lib" / name / executable
            path.write_text(STAND_IN.format(python=sys.executable))
            path.chmod(0o755)

    def launch(self, file: str, *arguments: str, expected: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "AMENT_PREFIX_PATH": str(self.prefix), "NOTES": str(self.notes), "EXPECTED": expected}
        command = ["ros2", "launch", "cdp_policy_node", file, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=self.notes.parent)

    def started(self) -> set[str]:
        return {path.name for path in self.notes.iterdir()}

    def words(self, executable: str) -> list[str]:
        return json.loads((self.notes / executable).read_text())["words"]

    def files(self, executable: str) -> list[str]:
        return json.loads((self.notes / executable).read_text())["files"]

    def parameters(self, executable: str) -> dict:
        """As the node would read them: later files override earlier ones."""
        found: dict = {}
        for text in json.loads((self.notes / executable).read_text())["texts"]:
            for node in yaml.safe_load(text).values():
                found.update(node["ros__parameters"])
        return found


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


ARM = "robot_ip:=172.16.0.2"


ON_THE_ARM = "franka_bringup spawner gripper_node guard_node realsense2_camera_node"
QUICK = [
    ("franka_slide.launch.py", [], "sim_node guard_node policy_node episode_runner"),
    ("record.launch.py", [ARM], f"{ON_THE_ARM} teleop_node recorder_node panel_node"),
    ("bringup.launch.py", [ARM], f"{ON_THE_ARM} teleop_node recorder_node panel_node"),
]
LONG = [
    ("franka_slide.launch.py", ["episodes:=0"], "sim_node guard_node policy_node"),
    ("franka_slide.launch.py", [ARM], f"{ON_THE_ARM} policy_node"),
    ("franka_slide.launch.py", [ARM, "command_interface:=cartesian", "camera:=none"], "franka_bringup gripper_node guard_node policy_node"),
    ("record.launch.py", ["operator:=scripted"], "sim_node guard_node teleop_node recorder_node scripted_operator episode_runner"),
    ("evaluate.launch.py", [ARM], f"{ON_THE_ARM} policy_node recorder_node teleop_node"),
    (
        "evaluate.launch.py",
        [ARM, "device:=none", "camera:=v4l2"],
        "franka_bringup spawner gripper_node guard_node policy_node recorder_node v4l2_camera_node",
    ),
    ("replay.launch.py", [], "sim_node guard_node replay_node"),
    ("replay.launch.py", [ARM, "driver:=libfranka"], "franka_driver franka_hand guard_node replay_node"),
    ("bringup.launch.py", [], "sim_node guard_node teleop_node recorder_node panel_node"),
    ("bringup.launch.py", [ARM, "driver:=none", "camera:=none", "recorder:=false", "panel:=false", "device:=none"], "gripper_node guard_node"),
    (
        "bringup.launch.py",
        ["driver:=none", "spacenav:=true", "bundle:=slide", "panel:=false"],
        "guard_node teleop_node recorder_node spacenav_node policy_node",
    ),
]


def some_long(quick: list, long: list) -> list:
    """Cases of which the second half is for `make test-long`: each is a launch of a second or two."""
    return [*quick, *(pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.long) for case in long)]


@pytest.mark.parametrize(("file", "arguments", "expected"), some_long(QUICK, LONG))
def test_exactly_these_are_started(bench, file, arguments, expected):
    done = bench.launch(file, *arguments, expected=expected)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.started() == set(expected.split())


@pytest.mark.parametrize("file", some_long(["replay"], ["franka_slide", "record", "evaluate", "bringup"]))
def test_the_controller_and_the_address_arrive(bench, file):
    given = [ARM, "controller:=crisp_pose", "camera:=none", "state_timeout_s:=0.2"]
    done = bench.launch(f"{file}.launch.py", *given, expected="franka_bringup guard_node")
    assert done.returncode == 0, done.stdout + done.stderr
    guard = bench.parameters("guard_node")
    assert guard["controller"] == "crisp_pose" and guard["command_interface"] == "cartesian"
    assert guard["state_timeout_s"] == 0.2 and guard["source_margin_s"] == 0.08
    assert bench.words("franka_bringup")[:3] == ["robot_ip=172.16.0.2", "robot_type=fr3", "load_gripper=true"]
    assert bench.words("franka_bringup")[3].endswith("config/controllers_fr3.yaml")
    # As often as the recorder expects them: it calls every episode suspect otherwise.
    expected = yaml.safe_load((ROOT / "config/recorder.yaml").read_text())["/**"]["ros__parameters"]["joint_rate_hz"]
    assert bench.words("franka_bringup")[4] == f"joint_state_rate={expected:g}"


@pytest.mark.parametrize(
    ("arguments", "interface"),
    some_long(
        [],
        [
            ([ARM], "joint"),
            ([], "cartesian"),
            ([ARM, "driver:=none"], "joint"),
            ([ARM, "driver:=libfranka"], "cartesian"),
            ([ARM, "controller:=servo_twist"], "cartesian"),
            ([ARM, "command_interface:=cartesian"], "cartesian"),
        ],
    ),
)
def test_the_guard_commands_joints_where_the_arm_would_else_move_by_itself(bench, arguments, interface):
    """Catches a default that asks for Franka's Cartesian impedance example, which moves as soon as it is active."""
    done = bench.launch("robot.launch.py", *arguments, expected="guard_node")
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.parameters("guard_node")["command_interface"] == interface


@pytest.mark.parametrize(("arguments", "by_itself"), some_long([([ARM], False)], [([], True), (["driver:=none"], False)]))
def test_a_replay_engages_and_puts_the_scene_back_by_itself_in_simulation_only(bench, arguments, by_itself):
    done = bench.launch("replay.launch.py", *arguments, expected="guard_node replay_node")
    assert done.returncode == 0, done.stdout + done.stderr
    told = bench.parameters("replay_node")
    assert (told["engage"], told["reset"]) == (by_itself, by_itself)


@pytest.mark.parametrize(
    ("arguments", "by_itself"), some_long([([ARM], False)], [([], False), (["episodes:=0"], True), (["driver:=none", "episodes:=0"], False)])
)
def test_the_slide_policy_activates_itself_in_simulation_only(bench, arguments, by_itself):
    """Catches a policy that moves the arm as soon as the guard is engaged, with nobody at a deadman."""
    done = bench.launch("franka_slide.launch.py", *arguments, expected="guard_node policy_node")
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.parameters("policy_node")["autostart"] is by_itself


@pytest.mark.parametrize(
    ("arguments", "awaited"),
    some_long([([ARM, "gripper:=false"], False)], [([ARM], True), (["gripper:=false"], True), ([ARM, "driver:=none", "gripper:=false"], False)]),
)
def test_without_a_hand_none_is_loaded_and_none_awaited(bench, arguments, awaited):
    """Catches a guard that waits for the width of a hand that is not there and never engages."""
    driver = "franka_bringup " if ARM in arguments and "driver:=none" not in arguments else ""
    done = bench.launch("robot.launch.py", *arguments, expected=f"{driver}guard_node")
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.parameters("guard_node")["has_gripper"] is awaited
    if driver:
        assert f"load_gripper={str(awaited).lower()}" in bench.words("franka_bringup")
    if "gripper:=false" in arguments:
        assert "gripper_node" not in bench.started()


@pytest.mark.parametrize(
    ("camera", "node", "own"), some_long([("realsense", "realsense2_camera_node", "~/color/")], [("v4l2", "v4l2_camera_node", "")])
)
def test_the_camera_publishes_what_the_nodes_read(bench, camera, node, own):
    expected = f"{node} guard_node recorder_node policy_node panel_node"
    given = [ARM, "driver:=none", f"camera:={camera}", "image_topic:=/side/image_raw", "bundle:=slide", "device:=none"]
    done = bench.launch("bringup.launch.py", *given, expected=expected)
    assert done.returncode == 0, done.stdout + done.stderr
    renamed = dict(word.split(":=") for word in bench.words(node) if ":=" in word)
    assert renamed[f"{own}image_raw"] == "/side/image_raw"
    assert renamed[f"{own}image_raw/compressed"] == "/side/image_raw/compressed"
    assert renamed[f"{own}camera_info"] == "/side/camera_info"
    assert bench.files(node) == [f"camera_{camera}.yaml"]
    for reader in ("recorder_node", "policy_node", "panel_node"):
        assert bench.parameters(reader)["image_topic"] == "/side/image_raw"
    assert bench.parameters("policy_node")["autostart"] is False


def test_the_driver_is_told_where_the_arm_is_and_what_the_guard_sends(bench):
    given = [ARM, "driver:=libfranka", "command_interface:=joint"]
    done = bench.launch("robot.launch.py", *given, expected="franka_driver franka_hand guard_node")
    assert done.returncode == 0, done.stdout + done.stderr
    for node in ("franka_driver", "franka_hand"):
        assert bench.files(node)[0] == "driver.yaml"
        assert bench.parameters(node)["robot_ip"] == "172.16.0.2"
    assert bench.parameters("franka_driver")["command_interface"] == "joint"
    assert bench.parameters("guard_node")["controller"] == "franka_driver"


@pytest.mark.parametrize(
    ("missing", "arguments", "said"),
    some_long(
        [("cdp_franka_driver", [ARM, "camera:=none", "driver:=libfranka"], "make build")],
        [
            ("franka_bringup", [ARM, "camera:=none"], "CDP_UNDERLAY"),
            ("realsense2_camera", [ARM], "realsense2-camera, or take camera:=none"),
            ("v4l2_camera", [ARM, "camera:=v4l2"], "v4l2-camera, or take camera:=none"),
            ("spacenav", ["spacenav:=true"], "spacenav"),
        ],
    ),
)
def test_what_is_not_installed_is_named_with_what_to_do_and_nothing_is_started(tmp_path, missing, arguments, said):
    bench = Bench(tmp_path, missing=(missing,))
    done = bench.launch("bringup.launch.py", *arguments)
    assert done.returncode == 1
    text = done.stdout + done.stderr
    assert f"package '{missing}' is not installed" in text and said in text and "Traceback" not in text
    assert bench.started() == set()


@pytest.mark.parametrize(("arguments", "said"), some_long([(["driver:=libfranka"], "robot_ip")], [(["camera:=v4l2"], "has a camera")]))
def test_arguments_that_contradict_each_other_are_refused(bench, arguments, said):
    done = bench.launch("bringup.launch.py", *arguments)
    assert done.returncode == 1 and said in done.stdout + done.stderr
    assert bench.started() == set()
