"""Installs cdp_policy_node as an ament_python package."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "cdp_policy_node"
# Links to the folders at the top of the repository: what a user edits there is what `ros2 launch` finds here.
SHARED = ("launch", "config", "models")


def shared_files() -> list[tuple[str, list[str]]]:
    """Every file below the shared folders, for the same place in share/cdp_policy_node."""
    folders: dict[str, list[str]] = {}
    for name in SHARED:
        for path in sorted(Path(name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                folders.setdefault(f"share/{NAME}/{path.parent.as_posix()}", []).append(path.as_posix())
    return sorted(folders.items())


setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={NAME: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *shared_files(),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="CDP maintainers",
    maintainer_email="maintainers@cdp-robotics.org",
    description="Lifecycle policy node and command guard: the ROS edge of cdp and cdp_franka.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "policy_node = cdp_policy_node.policy_node:main",
            "guard_node = cdp_policy_node.guard_node:main",
            "gripper_node = cdp_policy_node.gripper_node:main",
        ]
    },
)
