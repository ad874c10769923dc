"""ROS 2's middleware and domain, by the environment that the nodes will get."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cdp_teleop_recorder.doctor.finding import Finding

_SOURCE = ". tools/env.sh"
_MOST_PORTABLE, _LAST = 101, 232
_DEFAULT_RMW = "rmw_fastrtps_cpp"
_ADDRESS = "CDP_NETWORK_ADDRESS"
_NETWORK = f"export {_ADDRESS}=<this machine's address on the network of the others>; {_SOURCE}"
_PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def ros_settings(environment: Mapping[str, str], installed: Callable[[str], bool]) -> Iterator[Finding]:
    """``installed``: whether ROS 2 has a package of this name."""
    if "ROS_DISTRO" not in environment:
        yield Finding("ros", "fail", "no ROS 2 in this shell", _SOURCE)
        return
    yield Finding("ros", "ok", f"ROS 2 {environment['ROS_DISTRO']}")
    yield _middleware(environment, installed)
    yield _domain(environment)
    if not _local(environment) and "fastrtps" in (environment.get("RMW_IMPLEMENTATION") or _DEFAULT_RMW):
        yield from _network(environment)


def _middleware(environment: Mapping[str, str], installed: Callable[[str], bool]) -> Finding:
    rmw = environment.get("RMW_IMPLEMENTATION") or _DEFAULT_RMW
    if not installed(rmw):
        package = f"ros-{environment['ROS_DISTRO']}-{rmw.replace('_', '-')}"
        return Finding("rmw", "fail", f"{rmw} is not installed", f"sudo apt-get install {package}\nexport RMW_IMPLEMENTATION={_DEFAULT_RMW}")
    if "fastrtps" not in rmw:
        return Finding("rmw", "ok", rmw)
    profile = _profile(environment)
    if not profile:
        return Finding("rmw", "warn", f"{rmw} without a profile: two cameras of 640x480 lose half of their images", _SOURCE)
    if not Path(profile).is_file():
        return Finding("rmw", "fail", f"{rmw} with the profile {profile}, which is not there", f"export {_PROFILES[0]}=$PWD/config/fastdds.xml")
    return Finding("rmw", "ok", f"{rmw} with {profile}")


def _domain(environment: Mapping[str, str]) -> Finding:
    given = environment.get("ROS_DOMAIN_ID", "")
    if given and not (given.isdigit() and int(given) <= _LAST):
        return Finding("ros domain", "fail", f"ROS_DOMAIN_ID is {given!r}, not a number from 0 to {_LAST}", "export ROS_DOMAIN_ID=7")
    domain = int(given or 0)
    text = f"domain {domain}"
    if _local(environment):
        text += ", nodes of this machine only"
        beside = ""
    else:
        text += ", nodes of the whole network"
        beside = "" if domain else "; so is everybody else's by default, and their commands would reach this arm"
    if domain > _MOST_PORTABLE:
        return Finding("ros domain", "warn", f"{text}; above {_MOST_PORTABLE} its ports overlap those that programs get", "export ROS_DOMAIN_ID=7")
    return Finding("ros domain", "warn" if beside else "ok", text + beside, "export ROS_DOMAIN_ID=7" if beside else "")


def _network(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether Fast DDS's profile lets this machine's nodes reach the network that their discovery range means."""
    profile, given = Path(_profile(environment)), environment.get(_ADDRESS, "")
    addresses = re.findall(r"<address>\s*(.*?)\s*</address>", profile.read_text()) if profile.is_file() else []
    if f"${{{_ADDRESS}}}" in addresses and not (given and _ours(given)):
        said = f"is {given}, which no interface of this machine has" if given else "is not set"
        yield Finding("ros network", "fail", f"{_ADDRESS} {said}: nodes of other machines are not found", _NETWORK)
    elif addresses and all(address.startswith("127.") for address in addresses):
        yield Finding("ros network", "warn", f"{profile} keeps the nodes to this machine, whatever their discovery range", _NETWORK)
    elif given:
        yield Finding("ros network", "ok", f"other machines by {given}")


def _ours(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _local(environment: Mapping[str, str]) -> bool:
    return environment.get("ROS_LOCALHOST_ONLY") == "1" or environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE") in ("LOCALHOST", "OFF")


def _profile(environment: Mapping[str, str]) -> str:
    return next((environment[name] for name in _PROFILES if environment.get(name)), "")
