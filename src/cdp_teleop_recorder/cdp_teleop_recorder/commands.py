"""The command `cdp devices`: which devices can be opened here, what is wrong with the others, and the udev rule."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from cdp_teleop_recorder.devices.base import AXES, Device, DeviceError
from cdp_teleop_recorder.devices.choose import DeviceConfig
from cdp_teleop_recorder.devices.hidraw import Hidraw
from cdp_teleop_recorder.devices.keyboard import Keyboard
from cdp_teleop_recorder.devices.keys import KeysConfig
from cdp_teleop_recorder.devices.spacenavd import Spacenavd
from cdp_teleop_recorder.devices.udev import RULE, RULE_FILE, UdevError, by_hand, install

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = """examples:
  cdp devices                  what can be opened, and what to do about the rest
  cdp devices --watch hidraw   its deflections and buttons, until Ctrl-C
  cdp devices --install-udev   lets you open a SpaceMouse by hidraw; asks for the sudo password
"""
_PERIOD_S = 0.05


def register_devices(subparsers: SubParsers) -> None:
    """Add `devices` to the `cdp` command; found through the entry-point group ``cdp.commands``."""
    parser = subparsers.add_parser(
        "devices",
        help="list the devices that can move the arm, and what to do about those that cannot be opened",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--watch", choices=sorted(_makers()), help="print what a device says, until Ctrl-C")
    parser.add_argument("--install-udev", action="store_true", help=f"write {RULE_FILE}, which lets you open a SpaceMouse by hidraw")
    parser.add_argument("--print-udev", action="store_true", help="print the udev rule and the commands that install it")
    parser.set_defaults(run=run_devices)


def run_devices(args: argparse.Namespace) -> int:
    """0 where what was asked for worked: for a list, where a device could be opened."""
    try:
        if args.print_udev:
            _say(f"{RULE}\n{by_hand()}")
            return 0
        if args.install_udev:
            install()
            _say(f"wrote {RULE_FILE}; unplug the SpaceMouse and plug it in again")
            return 0
        return _watch(_makers()[args.watch]) if args.watch else _list()
    except (DeviceError, UdevError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0


def _makers() -> dict[str, Device]:
    return {
        "spacenavd": Spacenavd(DeviceConfig().full_scale_counts, time.monotonic_ns),
        "hidraw": Hidraw(time.monotonic_ns),
        "keyboard": Keyboard(KeysConfig(), time.monotonic_ns),
    }


def _list() -> int:
    opened = 0
    for name, device in _makers().items():
        try:
            _say(f"{name:10} opens: {device.open()}")
            opened += 1
        except DeviceError as error:
            _say(f"{name:10} {error.problem}\n{'':10} -> {error.fix}")
        finally:
            device.close()
    _say(f"{'spacenav':10} the topics /spacenav/twist and /spacenav/joy of a running driver: ros2 run spacenav spacenav_node")
    _say(f"{'joy':10} the topic /joy of a running driver: ros2 run joy game_controller_node")
    return 0 if opened else 1


def _watch(device: Device) -> int:
    _say(f"{device.open()}; Ctrl-C ends")
    try:
        while True:
            for reading in device.read()[-1:]:
                axes = "  ".join(f"{name} {value:+.2f}" for name, value in zip(AXES, reading.axes, strict=True))
                _say(f"{axes}  buttons {[i for i, down in enumerate(reading.buttons) if down]}")
            time.sleep(_PERIOD_S)
    finally:
        device.close()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
