"""tools/setup.sh and tools/env.sh where something is missing; what they install is tested by everything else."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def copy_of_tools(folder: Path) -> Path:
    """A checkout with nothing but what the set-up reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tools", "requirements"):
        shutil.copytree(ROOT / name, folder / name)
    return folder / "tools/setup.sh"


def run(script: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up."""
    return subprocess.run(["bash", str(script), *words], env={**os.environ, **variables}, capture_output=True, text=True, timeout=250)


def commands_without(folder: Path, missing: set[str], fakes: dict[str, str]) -> str:
    """A PATH on which everything is found but what is missing, and what is faked is the fake."""
    folder.mkdir()
    for directory in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        for path in Path(directory).iterdir():
            if path.name not in missing and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    for name, text in fakes.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_a_path_with_a_space_is_refused_in_one_line(tmp_path):
    done = run(copy_of_tools(tmp_path / "my work"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "white space" in done.stderr and str(tmp_path / "my work") in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_the_right_to_install_the_line_to_run_is_printed(tmp_path):
    path = commands_without(tmp_path / "bin", {"g++", "cmake"}, {"id": "echo 1000", "sudo": "exit 1"})
    done = run(copy_of_tools(tmp_path / "work"), PATH=path)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "apt-get" in line]
    assert "sudo apt-get install -y" in line
    assert line.endswith("g++ cmake")
    assert not (tmp_path / "work/.venv").exists()


def test_what_apt_cannot_bring_is_named(tmp_path):
    path = commands_without(tmp_path / "bin", {"cmake"}, {"id": "echo 0", "apt-get": "exit 0"})
    done = run(copy_of_tools(tmp_path / "work"), PATH=path)
    assert done.returncode == 1
    assert "still missing after apt-get: cmake" in done.stderr


@pytest.mark.parametrize(("text", "message"), [("echo Python 3.8", "3.10 to 3.12"), (None, "not on the PATH")])
def test_an_interpreter_that_will_not_do_is_named(tmp_path, text, message):
    fakes = {} if text is None else {"python3.8": 'case "$*" in *_base_executable*) echo "$0";; -V) echo Python 3.8.20;; -c*) exit 1;; esac'}
    path = commands_without(tmp_path / "bin", set(), fakes)
    done = run(copy_of_tools(tmp_path / "work"), PATH=path, PYTHON="python3.8")
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("installed", "taken"), [([], ""), (["humble"], ""), (["humble", "jazzy"], "jazzy"), (["kilted", "rolling"], "kilted"), (["rolling"], "rolling")]
)
def test_ros_is_taken_from_where_it_is_supported_and_humble_never(tmp_path, installed, taken):
    text = (ROOT / "tools/setup.sh").read_text()
    function = text[text.index("ros_root() {") : text.index("probe_python() {")].replace("/opt/ros", str(tmp_path))
    for distribution in installed:
        (tmp_path / distribution).mkdir()
        (tmp_path / distribution / "setup.bash").write_text(f"export ROS_DISTRO={distribution}\n")
    done = subprocess.run(["bash", "-c", f"set -euo pipefail\n{function}\nros_root"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (f"{tmp_path}/{taken}" if taken else "")
    # The environment takes the same one, or the wheels' Jazzy.
    script = copy_of_tools(tmp_path / "work").parent / "env.sh"
    script.write_text(script.read_text().replace("/opt/ros", str(tmp_path)))
    assert environment(f". {script}")["ROS_DISTRO"] == (taken or "jazzy")


def test_a_humble_that_is_sourced_already_is_named(tmp_path):
    script = copy_of_tools(tmp_path).parent / "env.sh"
    path = "/opt/ros/humble/local/lib/python3.10/dist-packages"
    for variables, said in (({"PYTHONPATH": path}, True), ({"PYTHONPATH": f"/x:{path}"}, True), ({"PYTHONPATH": "/x"}, False), ({}, False)):
        done = subprocess.run(["bash", "-c", f". {script}"], env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, text=True, check=True)
        assert ("Humble is sourced" in done.stderr) is said


BROWSER = ("chromedriver", "chromium", "google-chrome")


@pytest.mark.parametrize(
    ("system", "fakes", "said", "asked"),
    [
        ("debian", {"id": "echo 0", "apt-get": 'echo "$@" >>"$ASKED"'}, "installing system packages: chromium chromium-driver", True),
        ("debian", {"id": "echo 0", "apt-get": "exit 100"}, "could not be installed", False),
        ("debian", {"id": "echo 1000", "sudo": "exit 1"}, "sudo apt-get install", False),
        # There the package is a stub that asks for snap.
        ("ubuntu", {"id": "echo 0", "apt-get": 'echo "$@" >>"$ASKED"'}, "only Debian packages both", False),
    ],
)
def test_the_browser_of_the_tests_is_installed_on_debian_and_never_a_reason_to_fail(tmp_path, system, fakes, said, asked):
    text = (ROOT / "tools/setup.sh").read_text()
    function = text[text.index("install_browser() {") : text.index("check_interpreter() {")].replace("/etc/os-release", str(tmp_path / "os-release"))
    (tmp_path / "os-release").write_text(f"NAME=x\nID={system}\n")
    script = f'set -euo pipefail\nsay() {{ echo "setup: $*"; }}\n{function}\ninstall_browser\n'
    path = commands_without(tmp_path / "bin", set(BROWSER), fakes)
    environment = {**os.environ, "PATH": path, "ASKED": str(tmp_path / "asked")}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout and (asked or "will be skipped" in done.stdout)
    wanted = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert ("chromium chromium-driver" in wanted) is asked


def test_a_browser_that_is_there_is_left_alone(tmp_path):
    text = (ROOT / "tools/setup.sh").read_text()
    function = text[text.index("install_browser() {") : text.index("check_interpreter() {")]
    path = commands_without(tmp_path / "bin", set(), dict.fromkeys(BROWSER, "exit 0"))
    done = subprocess.run(["bash", "-c", f"say() {{ echo $*; }}\n{function}\ninstall_browser"], env={"PATH": path}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_second_run_waits_for_the_first(tmp_path):
    script = copy_of_tools(tmp_path / "work")
    holder = os.open(tmp_path / "work", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    process = subprocess.Popen(["bash", str(script), "--system-only"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "another run is under way" in process.stdout.readline()
    assert process.poll() is None
    os.close(holder)
    assert process.wait(timeout=60) == 0


def test_a_run_with_nothing_to_do_says_and_changes_nothing():
    assert run(ROOT / "tools/setup.sh").returncode == 0
    stamps = [*sorted((ROOT / "install/.stamps").iterdir()), *sorted((ROOT / ".venv/.cdp").iterdir())]
    before = [path.stat().st_mtime_ns for path in stamps]
    done = run(ROOT / "tools/setup.sh")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.stat().st_mtime_ns for path in stamps] == before


def environment(script: str, **variables: str) -> dict[str, str]:
    """Variables after a bash script, from a clean environment."""
    clean = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(["bash", "-c", script + "\nenv -0"], env={**clean, **variables}, cwd="/", capture_output=True, text=True, check=True)
    return dict(item.split("=", 1) for item in done.stdout.split("\0") if "=" in item)


def test_the_environment_from_any_directory_and_twice():
    once = environment(f". {ROOT}/tools/env.sh")
    twice = environment(f". {ROOT}/tools/env.sh; . {ROOT}/tools/env.sh")
    assert once["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert Path(once["FASTRTPS_DEFAULT_PROFILES_FILE"]).samefile(ROOT / "config/fastdds.xml")
    for name in ("AMENT_PREFIX_PATH", "PYTHONPATH"):
        assert sorted(set(twice[name].split(":"))) == sorted(set(once[name].split(":")))
    assert str(ROOT / "install/cdp_policy_node") in once["AMENT_PREFIX_PATH"].split(":")
    assert not any(name.startswith("_cdp") for name in once)


def test_what_the_user_has_set_stays():
    found = environment(f". {ROOT}/tools/env.sh", ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET", FASTRTPS_DEFAULT_PROFILES_FILE="/my.xml")
    assert (found["ROS_AUTOMATIC_DISCOVERY_RANGE"], found["FASTRTPS_DEFAULT_PROFILES_FILE"]) == ("SUBNET", "/my.xml")


def test_an_address_on_the_network_of_other_machines_opens_the_nodes_to_it_and_without_it_they_are_this_machine_s():
    source = f". {ROOT}/tools/env.sh"
    found = environment(f"{source}; {source}", CDP_NETWORK_ADDRESS="10.0.0.7")
    assert Path(found["FASTRTPS_DEFAULT_PROFILES_FILE"]).samefile(ROOT / "config/fastdds_network.xml")
    assert found["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    # Given in a shell that had sourced it before, and taken back.
    later = environment(f"{source}; export CDP_NETWORK_ADDRESS=10.0.0.7; {source}")
    assert later["FASTRTPS_DEFAULT_PROFILES_FILE"] == found["FASTRTPS_DEFAULT_PROFILES_FILE"]
    back = environment(f"{source}; unset CDP_NETWORK_ADDRESS; {source}", CDP_NETWORK_ADDRESS="10.0.0.7")
    assert Path(back["FASTRTPS_DEFAULT_PROFILES_FILE"]).samefile(ROOT / "config/fastdds.xml")
    kept = environment(source, CDP_NETWORK_ADDRESS="10.0.0.7", FASTRTPS_DEFAULT_PROFILES_FILE="/my.xml")
    assert kept["FASTRTPS_DEFAULT_PROFILES_FILE"] == "/my.xml"


def test_the_environment_without_a_build_says_what_to_do(tmp_path):
    copy_of_tools(tmp_path / "work")
    done = subprocess.run(["bash", "-c", f". {tmp_path}/work/tools/env.sh"], capture_output=True, text=True)
    assert "make build" in done.stderr


def test_make_alone_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    (phony,) = [line.split()[1:] for line in makefile.splitlines() if line.startswith(".PHONY")]
    assert {line.split()[1] for line in done.stdout.splitlines()} == set(phony)
