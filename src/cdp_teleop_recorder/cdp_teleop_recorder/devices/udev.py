"""The udev rule that lets the person at the machine open a SpaceMouse by hidraw."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

RULE_FILE = Path("/etc/udev/rules.d/70-spacemouse.rules")
# 256f is 3Dconnexion, which makes nothing else; 046d is Logitech, whose mice and keyboards the product numbers leave alone.
RULE = """# SpaceMouse by hidraw, for whoever sits at the machine (uaccess) and for the group plugdev (over SSH).
KERNEL=="hidraw*", ATTRS{idVendor}=="256f", MODE="0660", GROUP="plugdev", TAG+="uaccess"
KERNEL=="hidraw*", ATTRS{idVendor}=="046d", ATTRS{idProduct}=="c60[356]", MODE="0660", GROUP="plugdev", TAG+="uaccess"
KERNEL=="hidraw*", ATTRS{idVendor}=="046d", ATTRS{idProduct}=="c62[1356789b]", MODE="0660", GROUP="plugdev", TAG+="uaccess"
"""
_RELOAD = (("udevadm", "control", "--reload-rules"), ("udevadm", "trigger", "--subsystem-match=hidraw"))


class UdevError(RuntimeError):
    """The rule could not be installed; the message says what was done and what to do."""


def by_hand() -> str:
    """The command line that does the same."""
    lines = RULE.strip().splitlines()
    text = " ".join(f"'{line}'" for line in lines)
    return f"printf '%s\\n' {text} | sudo tee {RULE_FILE} && sudo udevadm control --reload-rules && sudo udevadm trigger --subsystem-match=hidraw"


def install(path: Path = RULE_FILE) -> None:
    """Write the rule, as root or through sudo, and have udev read it. Raises :class:`UdevError`."""
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    try:
        subprocess.run([*sudo, "tee", str(path)], input=RULE, text=True, check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UdevError(f"{path} was not written ({error}); by hand: {by_hand()}") from None
    for command in _RELOAD:
        try:
            subprocess.run([*sudo, *command], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise UdevError(f"{path} is written, but udev was not told ({error}); unplug the SpaceMouse, restart udev, plug it in") from None
