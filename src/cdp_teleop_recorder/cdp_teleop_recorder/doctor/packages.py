"""Python packages that the nodes import, and ROS packages that only a robot has."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

from cdp_teleop_recorder.doctor.finding import Finding

# Module, its distribution, the file of requirements/ that installs it. One of the engines is enough.
NEEDED = (
    ("numpy", "numpy", "base"),
    ("scipy", "scipy", "base"),
    ("cv2", "opencv-python-headless", "base"),
    ("h5py", "h5py", "base"),
    ("yaml", "pyyaml", "base"),
    ("mujoco", "mujoco", "base"),
    ("ruckig", "ruckig", "base"),
    ("safetensors", "safetensors", "base"),
)
ENGINES = (("openvino", "openvino", "base"), ("onnxruntime", "onnxruntime", "base"))
OPTIONAL = (("pyspacemouse", "pyspacemouse", "teleop"), ("nicegui", "nicegui", "panel"), ("mcap", "mcap", "mcap"))
ROS = ("rclpy", "cdp_msgs")
_PYTHONS = ((3, 10), (3, 12))


def version_of(module: str, distribution: str) -> str | None:
    """Version of a module that would import, empty where its distribution does not say; None where there is none."""
    if importlib.util.find_spec(module) is None:
        return None
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def packages(version: Callable[[str, str], str | None] = version_of, python: tuple[int, int] = sys.version_info[:2]) -> Iterator[Finding]:
    """Findings on Python itself, on what has to be there, and on what some features need."""
    said = ".".join(map(str, python))
    if _PYTHONS[0] <= python <= _PYTHONS[1]:
        yield Finding("python", "ok", said)
    else:
        yield Finding("python", "warn", f"{said} is not tested; 3.10 to 3.12 are", "PYTHON=python3.12 make build")
    found = {module: version(module, distribution) for module, distribution, _ in (*NEEDED, *ENGINES, *OPTIONAL)}
    missing = [module for module, _, _ in NEEDED if found[module] is None]
    engines = [f"{module} {found[module]}" for module, _, _ in ENGINES if found[module] is not None]
    if missing:
        yield Finding("python packages", "fail", f"{', '.join(missing)} cannot be imported", "make build\npip install -r requirements/base.txt")
    else:
        yield Finding("python packages", "ok", ", ".join(f"{module} {found[module]}" for module, _, _ in NEEDED))
    if engines:
        yield Finding("inference", "ok", ", ".join(engines))
    else:
        yield Finding("inference", "fail", "neither openvino nor onnxruntime can be imported: no policy runs", "pip install -r requirements/base.txt")
    for module, _, file in OPTIONAL:
        if found[module] is None:
            yield Finding("python packages", "warn", f"{module} is not installed: {_WITHOUT[module]}", f"pip install -r requirements/{file}.txt")
    without = [module for module in ROS if version(module, module) is None]
    if without:
        yield Finding("ros packages", "fail", f"{', '.join(without)} cannot be imported", "make build\n. tools/env.sh")
    else:
        yield Finding("ros packages", "ok", ", ".join(ROS))


_WITHOUT = {
    "pyspacemouse": "no SpaceMouse by hidraw (spacenavd does without)",
    "nicegui": "no operator's page",
    "mcap": "no MCAP beside the episodes",
}
