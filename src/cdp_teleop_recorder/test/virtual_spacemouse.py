"""A SpaceMouse Compact that does not exist: a hidraw device in a test bed of umockdev, moved by lines on standard input.

Run as ``umockdev-wrapper /usr/bin/python3 virtual_spacemouse.py``. It prints the test bed's folder, which a program finds through UMOCKDEV_DIR
and the preloaded library. Lines in: ``axes x y z rx ry rz`` in counts, ``buttons mask``, ``unplug``, ``plug``; each is answered by ``ok``.
"""

import os
import struct
import sys
import tempfile
import tty
from pathlib import Path

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import UMockdev  # noqa: E402

# HID 1.11, 6.2.2: a multi-axis controller; report 1 with three translations, 2 with three rotations, of 16 bits each; 3 with two buttons.
DESCRIPTOR = bytes.fromhex(
    "05 01 09 08 a1 01"
    "a1 00 85 01 09 30 09 31 09 32 16 a2 fe 26 5e 01 75 10 95 03 81 02 c0"
    "a1 00 85 02 09 33 09 34 09 35 16 a2 fe 26 5e 01 75 10 95 03 81 02 c0"
    "a1 02 85 03 05 09 19 01 29 02 15 00 25 01 75 01 95 02 81 02 75 01 95 06 81 03 c0"
    "c0"
)
USB = "/devices/pci0000:00/0000:00:14.0/usb1/1-1"
# The pseudo terminal behind the test bed knows no reports: bytes run together. The library reads 7 at a time, so every report is 7 long.
REPORT = 7


def describe(number: int) -> str:
    """The device as the kernel shows it in /sys and /dev, as hidraw ``number``."""
    return f"""P: {USB}
E: SUBSYSTEM=usb
E: DEVTYPE=usb_device
A: idVendor=256f
A: idProduct=c635
A: manufacturer=3Dconnexion
A: product=SpaceMouse Compact
A: bcdDevice=0437

P: {USB}/1-1:1.0
E: SUBSYSTEM=usb
E: DEVTYPE=usb_interface
A: bInterfaceNumber=00

P: {USB}/1-1:1.0/0003:256F:C635.0001
E: SUBSYSTEM=hid
E: HID_ID=0003:0000256F:0000C635
E: HID_NAME=3Dconnexion SpaceMouse Compact
E: HID_PHYS=usb-0000:00:14.0-1/input0
E: HID_UNIQ=
A: uevent=HID_ID=0003:0000256F:0000C635\\nHID_NAME=3Dconnexion SpaceMouse Compact\\nHID_PHYS=usb-0000:00:14.0-1/input0\\nHID_UNIQ=\\n
A: report_descriptor=

P: {USB}/1-1:1.0/0003:256F:C635.0001/hidraw/hidraw{number}
N: hidraw{number}
E: SUBSYSTEM=hidraw
E: DEVNAME=/dev/hidraw{number}
E: MAJOR=240
E: MINOR={number}
A: dev=240:{number}
L: device=../../../0003:256F:C635.0001

"""


class SpaceMouse:
    """The device and its reports."""

    def __init__(self) -> None:
        self._bed = UMockdev.Testbed.new()
        # A new number for each time that it is plugged in, as the kernel often does.
        self._number = -1
        self.plug()

    @property
    def folder(self) -> str:
        """Root of the test bed."""
        return str(self._bed.get_root_dir())

    def plug(self) -> None:
        """Make it appear."""
        self._number += 1
        node = f"/dev/hidraw{self._number}"
        self._bed.add_from_string(describe(self._number))
        size = struct.pack("=i", len(DESCRIPTOR))
        lines = [
            f"@DEV {node}",
            f"HIDIOCGRDESCSIZE 0 {size.hex().upper()}",
            f"HIDIOCGRDESC 0 {(size + DESCRIPTOR.ljust(4096, bytes(1))).hex().upper()}",
            f"HIDIOCGRAWINFO 0 {struct.pack('=Ihh', 3, 0x256F, 0xC635 - 0x10000).hex().upper()}",
        ]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ioctl"
            path.write_text("\n".join(lines) + "\n")
            self._bed.load_ioctl(node, str(path))
        self._fd = self._bed.get_dev_fd(node)
        tty.setraw(self._fd)

    def unplug(self) -> None:
        """Make it vanish: reads fail from now on."""
        os.close(self._fd)
        hid = f"{USB}/1-1:1.0/0003:256F:C635.0001"
        for path in (f"{hid}/hidraw/hidraw{self._number}", hid, f"{USB}/1-1:1.0", USB):
            self._bed.remove_device("/sys" + path)
        # umockdev leaves these behind, and then will not make a device on the same pseudo terminal again.
        for path in (*Path(self.folder, "dev/.node").iterdir(), *Path(self.folder, "dev/.ptymap").iterdir()):
            path.unlink()

    def axes(self, counts: list[int]) -> None:
        """Both reports of motion."""
        os.write(self._fd, struct.pack("<B3h", 1, *counts[:3]))
        os.write(self._fd, struct.pack("<B3h", 2, *counts[3:]))

    def buttons(self, mask: int) -> None:
        """The report of the buttons."""
        os.write(self._fd, bytes([3, mask]).ljust(REPORT, b"\0"))


def main() -> None:
    """Obey until standard input ends."""
    mouse = SpaceMouse()
    print(mouse.folder, flush=True)
    for line in sys.stdin:
        word, *values = line.split()
        if word == "axes":
            mouse.axes([int(v) for v in values])
        elif word == "buttons":
            mouse.buttons(int(values[0]))
        else:
            {"plug": mouse.plug, "unplug": mouse.unplug}[word]()
        print("ok", flush=True)


main()
