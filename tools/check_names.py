"""Whether every apt package and rosdep key that this repository names exists where it is to be installed. Run by tools/check_docker.sh.

apt names stand in the Dockerfiles, in tools/*.sh and in the documentation's `apt install` lines; rosdep keys in src/*/package.xml. Debian's and
Ubuntu's names are looked up by this machine's apt where it runs that release, else in the archive's own index, which apt reads too (60 MB); names
ros-<distribution>-* and keys are resolved by rosdep. What cannot be asked is skipped with the reason; a name that is not found ends with status 1.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
RELEASES = {"jazzy": "noble", "humble": "jammy"}
UBUNTU, DEBIAN = ("http://archive.ubuntu.com/ubuntu", ("main", "universe")), ("http://deb.debian.org/debian", ("main",))
# Where each release's packages are listed, and in which of its components we look.
ARCHIVES = {"noble": UBUNTU, "jammy": UBUNTU, "bookworm": DEBIAN}
BASES = {"jazzy": "noble", "noble": "noble", "humble": "jammy", "jammy": "jammy", "bookworm": "bookworm"}
NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")

Where = dict[str, set[str]]


class UnavailableError(Exception):
    """What would know is out of reach."""


def apt_names(text: str) -> set[str]:
    """Names after `apt-get install` or `apt install`, up to the end of the command; options, variables and files are passed over."""
    found: set[str] = set()
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    for command in re.findall(r"\bapt(?:-get)? install\s+([^\n;|&>`)#]*)", joined):
        found |= {word for word in command.replace("$ROS_DISTRO", "jazzy").split() if NAME.fullmatch(word)}
    return found


def release_of(dockerfile: str) -> str:
    """Code name of the release that a Dockerfile is based on. Raises ValueError for one that is not known."""
    for line in dockerfile.splitlines():
        if re.match(r"(ARG \w*BASE=|FROM )", line):
            for word, release in BASES.items():
                if word in line:
                    return release
    raise ValueError(f"none of {', '.join(BASES)} is in the name of a base image")


def setup_names(script: str) -> set[str]:
    """What tools/setup.sh may install on any machine."""
    system = script[script.index("probe_python()") : script.index("install_system()")]
    echoed = re.findall(r"\becho ([a-z][a-z0-9+. -]+)$", system, re.MULTILINE)
    return {"python3-venv", "python3-dev"}.union(*(line.split() for line in echoed))


def collect(root: Path) -> dict[str, Where]:
    """For each release the apt names that are to be there, each with the files that name it."""
    names: dict[str, Where] = {release: {} for release in ARCHIVES}

    def add(releases: Iterable[str], found: set[str], path: Path) -> None:
        for release in releases:
            for name in found:
                names[release].setdefault(name, set()).add(str(path.relative_to(root)))

    for path in sorted((root / "docker").glob("Dockerfile.*[!e]")):
        text = path.read_text(encoding="utf-8")
        add([release_of(text)], apt_names(text), path)
    setup = root / "tools/setup.sh"
    add(names, setup_names(setup.read_text(encoding="utf-8")), setup)
    add(["bookworm"], {"chromium", "chromium-driver"}, setup)
    devices = root / "tools/check_devices.sh"
    listed = re.search(r"packages=\(([^)]*)\)", devices.read_text(encoding="utf-8"))
    add(["bookworm", "noble"], set(listed[1].split() if listed else ()), devices)
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        add(["noble"], apt_names(path.read_text(encoding="utf-8")), path)
    return names


def rosdep_keys(root: Path) -> Where:
    """Keys of every package.xml that are not packages of this workspace."""
    files = sorted((root / "src").glob("*/package.xml"))
    ours = {path.parent.name for path in files}
    keys: Where = {}
    for path in files:
        for element in ElementTree.parse(path).getroot():
            if element.tag.endswith("depend") and element.text and element.text not in ours:
                keys.setdefault(element.text, set()).add(str(path.relative_to(root)))
    return keys


class Rosdep:
    """rosdep's rules for one distribution, from the network or from a checkout of ros/rosdistro; nothing of the user's own is touched."""

    def __init__(self, distribution: str, folder: Path, rosdistro: Path | None) -> None:
        """Raises UnavailableError where the rules cannot be had."""
        self.distribution = distribution
        base = rosdistro.resolve().as_uri() if rosdistro else "https://raw.githubusercontent.com/ros/rosdistro/master"
        sources = folder / "sources"
        sources.mkdir(parents=True, exist_ok=True)
        (sources / "20-default.list").write_text(f"yaml {base}/rosdep/base.yaml\nyaml {base}/rosdep/python.yaml\n")
        mine = {"ROSDEP_SOURCE_PATH": str(sources), "ROS_HOME": str(folder), "ROSDISTRO_INDEX_URL": f"{base}/index-v4.yaml"}
        self.environment = {**os.environ, **mine, "ROS_PYTHON_VERSION": "3"}
        if self._run("update", "--rosdistro", distribution).returncode != 0:
            raise UnavailableError(f"rosdep cannot reach {base}")

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["rosdep", *words], env=self.environment, capture_output=True, text=True)

    def resolve(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """apt names of each key; none where there is no rule."""
        found: dict[str, list[str]] = {key: [] for key in keys}
        if found:
            key = ""
            done = self._run("resolve", *found, "--rosdistro", self.distribution, "--os", f"ubuntu:{RELEASES[self.distribution]}")
            for line in done.stdout.splitlines():
                if header := re.match(r"#ROSDEP\[(.*)\]", line):
                    key = header[1]
                elif not line.startswith("#"):
                    found[key or next(iter(found))] += line.split()
        return found


def installable(names: list[str], release: str) -> set[str]:
    """Those of the names that the release has. Raises UnavailableError where nobody can be asked."""
    about = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE)) if Path("/etc/os-release").exists() else {}
    if about.get("VERSION_CODENAME") == release and any(Path("/var/lib/apt/lists").glob("*_Packages*")):
        policy = subprocess.run(["apt-cache", "policy", "--", *names], capture_output=True, text=True, check=True).stdout
        return {name for name, candidate in re.findall(r"^(\S+):\n.*\n\s+Candidate: (\S+)", policy, re.MULTILINE) if candidate != "(none)"}
    return listed(release) & set(names)


def listed(release: str) -> set[str]:
    """Every package of the release for amd64, with its updates. Raises UnavailableError where its archive cannot be reached."""
    archive, components = ARCHIVES[release]
    found: set[str] = set()
    for pocket in (release, f"{release}-updates"):
        for component in components:
            url = f"{archive}/dists/{pocket}/{component}/binary-amd64/Packages.gz"
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    index = gzip.decompress(answer.read()).decode("utf-8", "replace")
            except (OSError, EOFError) as error:
                raise UnavailableError(f"this machine is not {release}, and {url} cannot be read ({getattr(error, 'reason', error)})") from error
            found |= set(re.findall(r"^Package: (\S+)$", index, re.MULTILINE))
    return found


def report(what: str, missing: Where, count: int) -> Iterator[str]:
    """One line for what was found, one for each name that was not."""
    yield f"{what}: {count - len(missing)} of {count} found"
    for name, files in sorted(missing.items()):
        yield f"{what}: NOT FOUND {name} (in {', '.join(sorted(files))})"


def main() -> int:
    """Print what was found; 1 if a name is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rosdistro", type=Path, help="a checkout of github.com/ros/rosdistro, instead of the network")
    arguments = parser.parse_args()
    lines: list[str] = []
    names, keys = collect(ROOT), rosdep_keys(ROOT)
    for distribution, release in RELEASES.items():
        ros = {name: names[release].pop(name) for name in list(names[release]) if name.startswith(f"ros-{distribution}-")}
        try:
            rosdep = Rosdep(distribution, ROOT / "runs/docker" / f"rosdep-{distribution}", arguments.rosdistro)
        except UnavailableError as reason:
            lines.append(f"skipped: rosdep keys and ros-{distribution}-* names: {reason}")
            continue
        resolved = rosdep.resolve(keys)
        lines += report(f"rosdep keys for {distribution}", {key: keys[key] for key, found in resolved.items() if not found}, len(keys))
        packages = {name: name.removeprefix(f"ros-{distribution}-").replace("-", "_") for name in ros}
        released = rosdep.resolve(packages.values())
        absent = {name: ros[name] for name, package in packages.items() if name not in released[package]}
        lines += report(f"ros-{distribution}-* names", absent, len(ros)) if ros else []
        for key, found in resolved.items():
            for name in found:
                if not name.startswith("ros-"):
                    names[release].setdefault(name, set()).update(keys[key])
    for release, wanted in names.items():
        try:
            there = installable(sorted(wanted), release)
        except UnavailableError as reason:
            lines.append(f"skipped: {len(wanted)} apt names for {release}: {reason}")
            continue
        lines += report(f"apt names for {release}", {name: files for name, files in wanted.items() if name not in there}, len(wanted))
    sys.stdout.writelines(f"check-docker: {line}\n" for line in lines)
    return int(any("NOT FOUND" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
