"""The command `cdp doctor`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from cdp_teleop_recorder.devices.choose import DeviceConfig
from cdp_teleop_recorder.devices.hidraw import Hidraw
from cdp_teleop_recorder.devices.spacenavd import Spacenavd
from cdp_teleop_recorder.doctor import clock, host, network, packages, rights
from cdp_teleop_recorder.doctor.camera import camera_rate, listen
from cdp_teleop_recorder.doctor.finding import Probe, as_json, as_text, examine, failed
from cdp_teleop_recorder.doctor.ros_settings import ros_settings
from cdp_teleop_recorder.doctor.shared_memory import shared_memory
from cdp_teleop_recorder.doctor.spacemouse import spacemouse
from cdp_teleop_recorder.recorder_parameters import RecorderParameters

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = """examples:
  cdp doctor                            this machine by itself
  cdp doctor --robot-ip 172.16.0.2      and the way to the arm
  cdp doctor --robot-ip 172.16.0.2 --json > doctor.json
"""
ROOT = Path("/")
_RECORDER = RecorderParameters()


def register_doctor(subparsers: SubParsers) -> None:
    """Add `doctor` to the `cdp` command; found through the entry-point group ``cdp.commands``."""
    parser = subparsers.add_parser(
        "doctor",
        help="is this machine ready for the arm: kernel, rights, network, camera, SpaceMouse, clock, ROS, shared memory, disk, packages",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--robot-ip", default="", help="address of the arm: what it needs is then a failure where it is missing, not a warning")
    parser.add_argument("--handshake", action="store_true", help="ask the arm for its interface's version; not beside a driver that is connected")
    parser.add_argument("--image-topic", default=_RECORDER.image_topic, help="the camera's topic (default %(default)s); empty leaves it out")
    parser.add_argument("--image-rate-hz", type=float, default=_RECORDER.image_rate_hz, help="what the camera should give (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to listen to the camera (default %(default)s)")
    parser.add_argument("--directory", type=Path, default=Path(_RECORDER.directory), help="folder of the recordings (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    parser.set_defaults(run=run_doctor)


def run_doctor(args: argparse.Namespace) -> int:
    """0 where nothing failed, else 1."""
    findings = examine(probes(args))
    sys.stdout.write((as_json if args.json else as_text)(findings) + "\n")
    return 1 if failed(findings) else 0


def probes(args: argparse.Namespace) -> dict[str, Probe]:
    """Every probe on its real sources, in the order of the report."""
    arm = bool(args.robot_ip)
    found: dict[str, Probe] = {
        "kernel": lambda: host.kernel(ROOT, arm),
        "rtprio": lambda: rights.rights(ROOT, rights.limits(), *rights.groups(), arm),
        "cpu governor": lambda: host.governor(ROOT),
    }
    if arm:
        found["network"] = lambda: network.round_trips(args.robot_ip, network.ping)
        found["fci"] = lambda: network.fci(args.robot_ip, network.FCI_PORT, args.handshake)
    else:
        found["network"] = network.skipped
    if args.image_topic:
        found["camera"] = lambda: camera_rate(args.image_topic, args.image_rate_hz, listen(args.image_topic, args.seconds))
    devices = (Spacenavd(DeviceConfig().full_scale_counts, time.monotonic_ns), Hidraw(time.monotonic_ns))
    return found | {
        "spacemouse": lambda: spacemouse(devices),
        "clock": lambda: clock.clock(clock.kernel_clock()),
        "ros": lambda: ros_settings(os.environ, _installed),
        "shared memory": lambda: shared_memory(ROOT),
        "disk": lambda: host.disk(args.directory, _RECORDER.min_free_mb),
        "python packages": packages.packages,
    }


def _installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True
