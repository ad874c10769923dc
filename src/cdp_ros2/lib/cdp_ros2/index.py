"""Packages, executables and launch files of the sourced workspaces."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_packages_with_prefixes

from cdp_ros2.errors import LaunchError


def prefix(package: str) -> Path:
    """Return the install prefix of a package. Raises LaunchError."""
    try:
        return Path(get_package_prefix(package))
    except (PackageNotFoundError, ValueError):
        raise LaunchError(f"package '{package}' is not installed, or its workspace is not sourced") from None


def share(package: str) -> Path:
    """Return the share directory of a package. Raises LaunchError."""
    return prefix(package) / "share" / package


def packages() -> list[str]:
    """Return the names of all packages."""
    return sorted(get_packages_with_prefixes())


def executables(package: str) -> list[Path]:
    """Return the executables of a package."""
    directory = prefix(package) / "lib" / package
    found = directory.iterdir() if directory.is_dir() else ()
    return sorted(path for path in found if path.is_file() and os.access(path, os.X_OK))


def executable(package: str, name: str) -> Path:
    """Return an executable of a package. Raises LaunchError naming those that there are."""
    known = executables(package)
    for path in known:
        if path.name == name:
            return path
    raise LaunchError(f"package '{package}' has no executable '{name}' (it has: {', '.join(path.name for path in known) or 'none'})")


def launch_file(package: str, name: str) -> Path:
    """Return a launch file of a package, wherever it lies in its share directory. Raises LaunchError naming those that there are."""
    directory = share(package)
    found = sorted(Path(top) / file for top, _, files in os.walk(directory, followlinks=True) for file in files if file == name)
    if len(found) == 1:
        return found[0]
    if found:
        raise LaunchError(f"launch file '{name}' is there more than once in package '{package}': {', '.join(map(str, found))}")
    known = sorted(path.name for path in directory.rglob("*.launch.py"))
    raise LaunchError(f"package '{package}' has no launch file '{name}' (it has: {', '.join(known) or 'none'})")
