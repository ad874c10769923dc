"""The messages of franka_ros2, MoveIt and ros2_control for tests: the installed ones, else those declared in interfaces/, built once."""

import ctypes
import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent / "interfaces"
BUILD = Path(__file__).parents[3] / "build" / "test_interfaces"
PACKAGES = ("franka_msgs", "moveit_msgs", "controller_manager_msgs")
# In the order in which each needs the one before.
LIBRARIES = (
    "rosidl_generator_c",
    "rosidl_typesupport_introspection_c",
    "rosidl_typesupport_fastrtps_c",
    "rosidl_typesupport_c",
    "rosidl_generator_py",
)


def environment() -> dict[str, str]:
    """Makes the packages importable here, and returns the environment in which they are in a child process."""
    changed = dict(os.environ)
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            built = build(package)
            load(package, built)
        elif not (built := folder(package)).is_dir():
            continue
        for name, entry in (("PYTHONPATH", built / "rosidl_generator_py"), ("LD_LIBRARY_PATH", built)):
            changed[name] = os.pathsep.join(filter(None, [str(entry), changed.get(name, "")]))
    return changed


def folder(package: str) -> Path:
    """Where the package is built: named by what it is built from."""
    digest = hashlib.sha256(f"{sys.version}{sys.prefix}{os.environ.get('ROS_DISTRO')}".encode())
    for path in sorted([SOURCE / "CMakeLists.txt", *(p for p in (SOURCE / package).rglob("*") if p.is_file())]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return BUILD / f"{package}-{digest.hexdigest()[:16]}"


def build(package: str) -> Path:
    """Builds the package unless that has been done; some 10 s of computing."""
    target = folder(package)
    target.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / "done").exists():
            options = [f"-DPACKAGE={package}", f"-DPython3_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=Debug", "-DBUILD_TESTING=OFF"]
            for command in (["cmake", "-S", str(SOURCE), "-B", str(target), *options], ["cmake", "--build", str(target), "-j2"]):
                done = subprocess.run(command, capture_output=True, text=True)
                assert done.returncode == 0, (
                    f"{package} cannot be built for the tests: {' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
                )
            (target / "done").touch()
    return target


def load(package: str, built: Path) -> None:
    """LD_LIBRARY_PATH is read when a process starts: in this one, the libraries are there before anything asks for them."""
    sys.path.append(str(built / "rosidl_generator_py"))
    for name in LIBRARIES:
        ctypes.CDLL(str(built / f"lib{package}__{name}.so"), mode=ctypes.RTLD_GLOBAL)
