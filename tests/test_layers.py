"""Imports point downward only, launch files stay plain, and no file depends on the machine that it was written on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

OURS = {"cdp", "cdp_franka", "cdp_msgs", "cdp_policy_node", "cdp_teleop_recorder", "cdp_franka_sim", "cdp_franka_driver", "cdp_ros", "cdp_ros2"}
# What each package may import of ours (docs/interfaces.md, Layers); a package may always import itself.
ALLOWED = {
    "cdp": set(),
    "cdp_franka": {"cdp"},
    "cdp_policy_node": {"cdp", "cdp_franka", "cdp_msgs", "cdp_ros"},
    "cdp_teleop_recorder": {"cdp", "cdp_franka", "cdp_msgs", "cdp_ros"},
    "cdp_franka_sim": {"cdp", "cdp_franka", "cdp_msgs", "cdp_ros"},
    "cdp_franka_driver": {"cdp", "cdp_franka", "cdp_msgs", "cdp_ros"},
    "cdp_ros": {"cdp"},
    "cdp_ros2": set(),
}
WITHOUT_ROS = {"cdp", "cdp_franka"}
ROS = re.compile(r"^(rclpy|rcl_interfaces|cv_bridge|launch|launch_ros|ament_index_python|tf2_\w+|\w+_msgs|\w+_srvs|\w+_interfaces)$")
# `ros2 launch` runs under whatever interpreter it has: nothing else may be imported, by the launch files or by what they share.
IN_LAUNCH_FILES = {"launch", "launch_ros", "ament_index_python", "cdp_policy_node"} | set(sys.stdlib_module_names)
SHARED_BY_LAUNCH_FILES = ("src/cdp_policy_node/cdp_policy_node", ("__init__.py", "launch_parts.py", "launch_nodes.py"))

MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(?:home|Users|root|work|workspace|mnt|media|tmp)/[\w.-]+")
TEXT = {".py", ".sh", ".yaml", ".yml", ".toml", ".md", ".xml", ".cfg", ".txt", ".json", ".msg", ".srv", ".cmake", ""}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level module of each import, however deep it is nested."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.partition(".")[0]
        elif (
            # importlib.import_module("name") is an import too.
            isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value).partition(".")[0]


def layer_violations(src: Path) -> list[str]:
    """Imports below `src` that point upward or sideways, or reach for ROS where it may not be."""
    found = []
    for package, allowed in ALLOWED.items():
        for path in sorted((src / package / ("lib" if package == "cdp_ros2" else package)).rglob("*.py")):
            for line, module in imports(path):
                where = f"{path.relative_to(src)}:{line}"
                if module in OURS - allowed - {package}:
                    found.append(f"{where}: {package} must not import {module}")
                if package in WITHOUT_ROS and ROS.match(module):
                    found.append(f"{where}: {package} must not import ROS ({module})")
    return found


def launch_violations(folder: Path) -> list[str]:
    """Imports of launch files beyond launch, launch_ros, the standard library and what they share."""
    return plain_violations(sorted(folder.rglob("*.launch.py")), "a launch file")


def plain_violations(paths: list[Path], what: str) -> list[str]:
    """Imports beyond ``IN_LAUNCH_FILES``."""
    return [
        f"{path.name}:{line}: {what} must not import {module}" for path in paths for line, module in imports(path) if module not in IN_LAUNCH_FILES
    ]


def machine_paths(root: Path, files: list[str]) -> list[str]:
    """Lines of text files that name a place of one machine."""
    found = []
    for name in files:
        path = root / name
        if path.suffix in TEXT and path.is_file() and not path.is_symlink():
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except UnicodeDecodeError:
                continue  # Not text after all.
            found += [f"{name}:{number}: {match[0]}" for number, line in enumerate(lines, 1) if (match := MACHINE_PATH.search(line))]
    return found


def product_files() -> list[str]:
    """Tracked and new files, without those that git ignores; tests may make up paths."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if "/test/" not in name and not name.startswith("tests/")]


def test_imports_point_downward():
    assert layer_violations(ROOT / "src") == []


def test_every_package_has_a_layer():
    packages = {path.parent.name for path in (ROOT / "src").glob("*/package.xml")} | {"cdp_ros2"}
    assert packages - {"cdp_msgs"} == set(ALLOWED)


def test_launch_files_are_plain():
    assert launch_violations(ROOT / "launch") == []


def test_what_launch_files_share_is_plain():
    folder, names = SHARED_BY_LAUNCH_FILES
    assert plain_violations([ROOT / folder / name for name in names], "what launch files share") == []


def test_launch_files_import_nothing_else_of_ours():
    """Whole modules of cdp_policy_node would draw in rclpy and numpy."""
    allowed = {f"cdp_policy_node.{name.removesuffix('.py')}" for name in SHARED_BY_LAUNCH_FILES[1]}
    for path in sorted((ROOT / "launch").glob("*.launch.py")):
        used = {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
        assert {name for name in used if name.startswith("cdp")} <= allowed, path.name


def test_no_file_names_a_machine():
    assert machine_paths(ROOT, product_files()) == []


@pytest.mark.parametrize(
    ("package", "source", "message"),
    [
        ("cdp", "import rclpy", "cdp must not import ROS (rclpy)"),
        ("cdp", "def f():\n    from sensor_msgs.msg import Image", "cdp must not import ROS (sensor_msgs)"),
        ("cdp", "from cdp_franka.limits import FR3", "cdp must not import cdp_franka"),
        ("cdp_franka", "import cdp_msgs.msg as m", "cdp_franka must not import cdp_msgs"),
        ("cdp_franka_sim", "import importlib\nimportlib.import_module('cdp_policy_node.guard')", "cdp_franka_sim must not import cdp_policy_node"),
        (
            "cdp_policy_node",
            "try:\n    import cdp_teleop_recorder\nexcept ImportError:\n    pass",
            "cdp_policy_node must not import cdp_teleop_recorder",
        ),
    ],
)
def test_a_planted_import_is_found(tmp_path, package, source, message):
    path = tmp_path / package / package / "deep" / "planted.py"
    path.parent.mkdir(parents=True)
    path.write_text(source)
    (violation,) = [text for text in layer_violations(tmp_path) if message in text]
    assert "planted.py" in violation


def test_what_is_allowed_is_not_found(tmp_path):
    for package, allowed in ALLOWED.items():
        path = tmp_path / package / package / "fine.py"
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"import {name}\n" for name in sorted(allowed | {package})) + "from . import other\nimport numpy\n")
    assert layer_violations(tmp_path) == []


def test_a_planted_launch_import_is_found(tmp_path):
    (tmp_path / "bad.launch.py").write_text("import os\nfrom launch import LaunchDescription\nimport numpy\n")
    assert launch_violations(tmp_path) == ["bad.launch.py:3: a launch file must not import numpy"]


@pytest.mark.parametrize(
    ("line", "bad"),
    [("models: /home/someone/models", True), ("cd /tmp/x1 && ls", True), ("/opt/ros/jazzy", False), ("src/home/x", False)],
)
def test_a_planted_path_is_found(tmp_path, line, bad):
    (tmp_path / "notes.md").write_text(f"text\n{line}\n")
    assert bool(machine_paths(tmp_path, ["notes.md"])) is bad
