"""Whether there is something to move the arm with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cdp_teleop_recorder.devices.base import Device, DeviceError
from cdp_teleop_recorder.doctor.finding import Finding


def spacemouse(devices: Iterable[Device]) -> Iterator[Finding]:
    """Open each in turn; the first that opens is enough. What is wrong with each is `cdp devices`."""
    problems = []
    for device in devices:
        try:
            yield Finding("spacemouse", "ok", f"{device.name}: {device.open()}")
            return
        except DeviceError as error:
            problems.append(error)
        finally:
            device.close()
    text = "; ".join(f"{error.device}: {error.problem}" for error in problems)
    yield Finding("spacemouse", "warn", text, "\n".join([*(error.fix for error in problems), "cdp devices"]))
