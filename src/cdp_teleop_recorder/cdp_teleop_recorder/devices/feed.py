"""One device out of several: opens the first that can be opened, says what is wrong with each, and finds a lost one again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from cdp_teleop_recorder.devices.base import Clock, Device, DeviceError, Reading

NS_PER_S = 1_000_000_000


class Level(Enum):
    """How much a message matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass
class Poll:
    """What one poll gave: readings, oldest first; whether the device was lost; what to tell the person."""

    readings: list[Reading] = field(default_factory=list)
    lost: bool = False
    says: list[tuple[Level, str]] = field(default_factory=list)


class DeviceFeed:
    """See the module. While nothing is open every device is tried in order, again and again."""

    def __init__(self, devices: Sequence[Device], clock_ns: Clock, retry_s: float = 1.0, patience_s: float = 2.0) -> None:
        """Tries anew every ``retry_s``; complains once nothing could be opened for ``patience_s``, and when the reasons change."""
        self._devices, self._clock_ns = list(devices), clock_ns
        self._retry_ns, self._patience_ns = round(retry_s * NS_PER_S), round(patience_s * NS_PER_S)
        self._active: Device | None = None
        self._tried_ns: int | None = None
        self._without_since_ns: int | None = None
        self._complaint = ""

    @property
    def active(self) -> Device | None:
        """The device that is open."""
        return self._active

    def poll(self) -> Poll:
        """Readings of the open device; where none is open, the next attempt once it is due."""
        poll = Poll()
        now_ns = self._clock_ns()
        if self._active is None and (self._tried_ns is None or now_ns - self._tried_ns >= self._retry_ns):
            self._tried_ns = now_ns
            self._search(poll, now_ns)
        if self._active is not None:
            try:
                poll.readings = self._active.read()
            except DeviceError as error:
                self._lose(poll, error)
        return poll

    def offer(self, device: Device) -> Poll:
        """Poll, after trying at once the one device that is known to have come."""
        said: list[tuple[Level, str]] = []
        if self._active is None and device in self._devices:
            said = self._try([device]).says
        poll = self.poll()
        poll.says = said + poll.says
        return poll

    def close(self) -> None:
        """Let go of the device."""
        if self._active is not None:
            self._active.close()
            self._active = None

    def _search(self, poll: Poll, now_ns: int) -> None:
        tried = self._try(self._devices)
        if self._active is not None:
            poll.says += tried.says
            return
        if self._without_since_ns is None:
            self._without_since_ns = now_ns
        complaint = "\n".join(text for _, text in tried.says)
        if complaint != self._complaint and now_ns - self._without_since_ns >= self._patience_ns:
            self._complaint = complaint
            what = "no device can be opened; trying on, any of these helps" if len(self._devices) > 1 else "trying on"
            poll.says.append((Level.WARNING, f"{what}:\n{complaint}"))

    def _try(self, devices: Sequence[Device]) -> Poll:
        poll = Poll()
        for device in devices:
            try:
                opened = device.open()
            except DeviceError as error:
                poll.says.append((Level.WARNING, str(error)))
                continue
            self._active, self._without_since_ns, self._complaint = device, None, ""
            return Poll(says=[(Level.INFO, f"moved by {opened}")])
        return poll

    def _lose(self, poll: Poll, error: DeviceError) -> None:
        assert self._active is not None
        self._active.close()
        self._active, self._tried_ns = None, self._clock_ns()
        poll.readings, poll.lost = [], True
        poll.says.append((Level.ERROR, f"{error.device}: {error.problem}: the arm stops; {error.fix}, and hold the deadman anew to go on"))
