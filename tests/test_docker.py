"""docker/ as far as it can be judged without Docker; `make check-docker` runs the linters and looks the names up."""

from __future__ import annotations

import gzip
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = ["Dockerfile.robot", "Dockerfile.ci"]


@pytest.fixture(scope="module")
def names() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_names", ROOT / "tools/check_names.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_names"] = module
    spec.loader.exec_module(module)
    return module


def dockerfile(name: str) -> str:
    return (ROOT / "docker" / name).read_text(encoding="utf-8")


def instructions(name: str) -> list[str]:
    """Instructions of a Dockerfile, one a line, without comments."""
    text = re.sub(r"(?m)^\s*#.*\n", "", dockerfile(name))
    return [line for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.strip()]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_bases_are_pinned_by_digest(name):
    bases = re.findall(r"^ARG \w*BASE=(\S+)", dockerfile(name), re.MULTILINE)
    assert bases and all(re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", base) for base in bases)
    assert all(re.match(r"FROM \$\{\w*BASE\}", line) for line in instructions(name) if line.startswith("FROM"))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_no_layer_keeps_apt_lists_and_nothing_runs_as_root(name):
    for line in instructions(name):
        if line.startswith("RUN") and re.search(r"apt-get (update|install)|setup\.sh --system-only", line):
            assert "rm -rf /var/lib/apt/lists/*" in line, line
    last_stage = "\n".join(instructions(name)).rsplit("FROM ", 1)[1]
    assert re.findall(r"^USER (.*)$", last_stage, re.MULTILINE)[-1] == "${USER_UID}"


def test_the_last_stage_has_no_build_tools(names):
    last_stage = dockerfile("Dockerfile.robot").rsplit("\nFROM ", 1)[1]
    tools = {"g++", "gcc", "cmake", "make", "git", "build-essential", "ros-dev-tools", "python3-dev", "python3-colcon-common-extensions"}
    assert names.apt_names(last_stage) & tools == set()


def test_what_is_pinned_is_what_the_documentation_says():
    text = dockerfile("Dockerfile.robot")
    found = re.findall(r"^ARG (FRANKA_ROS2|LIBFRANKA|FRANKA_DESCRIPTION)_REF=(\S+)$", text, re.MULTILINE)
    refs = dict(found)
    assert len(found) == 3
    install = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    row = next(line for line in install.splitlines() if line.startswith(f"| {refs['FRANKA_ROS2']}"))
    assert refs["LIBFRANKA"] in row and refs["FRANKA_DESCRIPTION"] in row
    assert f"cdp-robot:{refs['FRANKA_ROS2']}" in (ROOT / "docker/compose.yaml").read_text(encoding="utf-8")


def test_the_robot_gets_the_rights_that_it_needs_and_no_more():
    services = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))["services"]
    robot = services["robot"]
    assert (robot["network_mode"], robot["ipc"], robot["cap_add"], robot["restart"]) == ("host", "host", ["SYS_NICE"], "no")
    assert robot["ulimits"] == {"rtprio": 99, "memlock": -1}
    assert "/dev:/dev" in robot["volumes"] and any("HIDRAW_MAJOR" in rule for rule in robot["device_cgroup_rules"])
    assert not any("privileged" in service for service in services.values())
    assert all("cap_add" not in service for name, service in services.items() if name != "robot")


def test_the_host_says_every_variable_that_compose_asks_for(tmp_path):
    (tmp_path / "docker").mkdir()
    script = tmp_path / "docker/host_env.sh"
    script.write_text((ROOT / "docker/host_env.sh").read_text(encoding="utf-8"))
    said = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=True).stdout
    values = dict(line.split("=", 1) for line in said.splitlines())
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker/compose.yaml").read_text(encoding="utf-8")))
    assert asked and asked <= values.keys()
    assert all(re.fullmatch(r"\d+", value) for name, value in values.items() if name != "ROBOT_IP")
    assert (tmp_path / "data").is_dir() and (tmp_path / "runs").is_dir()


def test_what_belongs_to_one_machine_is_not_kept():
    assert "/docker/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    for name in DOCKERFILES:
        assert "docker/.env" in dockerfile(f"{name}.dockerignore").splitlines()


def test_names_are_read_from_commands(names):
    text = "RUN apt-get update && apt-get install -y --no-install-recommends \\\n  # why\n  g++ libegl1 \\\n && rm -rf x\n"
    text += "use `apt install a-b` or sudo apt install $X c1; d\napt install e1   # whichever\n"
    assert names.apt_names(text) == {"g++", "libegl1", "a-b", "c1", "e1"}
    assert names.release_of("ARG BUILD_BASE=ros:jazzy-ros-base@sha256:0\nFROM ${BUILD_BASE}") == "noble"
    with pytest.raises(ValueError, match="base image"):
        names.release_of("FROM alpine:3")


def test_every_file_gives_its_names(names):
    collected = names.collect(ROOT)
    assert {"g++", "cmake", "libegl1", "python3-venv"} <= collected["bookworm"].keys() & collected["jammy"].keys() & collected["noble"].keys()
    assert "ros-jazzy-joint-trajectory-controller" in collected["noble"] and "chromium" in collected["bookworm"]
    assert "libspnav0" in collected["noble"], "an `apt install` line of docs/teleop.md"
    keys = names.rosdep_keys(ROOT)
    assert "rclpy" in keys and "cdp_msgs" not in keys


def test_a_name_that_is_nowhere_is_an_error(names, monkeypatch, capsys):
    monkeypatch.setattr(names, "RELEASES", {})
    monkeypatch.setattr(names, "installable", lambda wanted, _: set(wanted) - {"libegl1"})
    monkeypatch.setattr(sys, "argv", ["check_names.py"])
    assert names.main() == 1
    assert "NOT FOUND libegl1 (in docker/Dockerfile.robot, tools/setup.sh)" in capsys.readouterr().out
    monkeypatch.setattr(names, "installable", lambda wanted, _: set(wanted))
    assert names.main() == 0


def test_names_are_looked_up_in_the_index_of_the_archive(names, monkeypatch, tmp_path):
    """Catches a component or the updates left out, and an archive that is out of reach taken for one that lacks a name."""
    indexes = {"nowhere/main": b"Package: g++\nDepends: absent\n", "nowhere/universe": b"Package: libegl1\n\nPackage: umockdev\n"}
    indexes |= {"nowhere-updates/main": b"", "nowhere-updates/universe": b"Package: make\n"}
    for place, text in indexes.items():
        file = tmp_path / "dists" / place / "binary-amd64/Packages.gz"
        file.parent.mkdir(parents=True)
        file.write_bytes(gzip.compress(text))
    monkeypatch.setitem(names.ARCHIVES, "nowhere", (tmp_path.as_uri(), ("main", "universe")))
    assert names.installable(["g++", "libegl1", "make", "absent"], "nowhere") == {"g++", "libegl1", "make"}
    file.unlink()
    with pytest.raises(names.UnavailableError, match="is not nowhere"):
        names.installable(["g++"], "nowhere")


def test_what_cannot_be_asked_is_said(names, monkeypatch, capsys):
    def offline(wanted, release):
        raise names.UnavailableError("no network")

    monkeypatch.setattr(names, "RELEASES", {})
    monkeypatch.setattr(names, "installable", offline)
    monkeypatch.setattr(sys, "argv", ["check_names.py"])
    assert names.main() == 0
    assert capsys.readouterr().out.count("skipped: ") == 3
