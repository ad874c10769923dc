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
    "lerobot": None,  # in an environment of its own, tools/check_peers.sh
    "torchvision": None,  # comes with lerobot
    "OpenGL": None,  # comes with mujoco
}


def imported(package: Path) -> set[str]:
    """Modules from outside of the package and the standard library which its code imports."""
    found: set[str] = set()
    for path in (package / package.name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {package.name}


def declared(package: Package) -> set[str]:
    """Keys of everything that the package needs to run."""
    return {dependency.name for dependency in package.exec_depends}


def requirements() -> set[str]:
    """Names in requirements/, without versions."""
    lines = "\n".join(path.read_text() for path in (ROOT / "requirements").glob("*.txt") if path.name != "constraints.txt")
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
    assert pins - requirements() == set(), "requirements/ lacks these"


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
