"""Devices that do not exist, for programs that believe they do: spacenavd on its socket, a SpaceMouse on a hidraw node."""

from __future__ import annotations

import contextlib
import ctypes.util
import importlib.util
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

DEADLINE_S = 60.0
_REQUEST = 0x7FAA0000
_CHANGE_PROTOCOL, _DEVICE_NAME = 0x5500, 0x2000
_NAME = b"Fake SpaceMouse"


def lacks_spacenavd() -> str:
    """Why the real libspnav cannot be tested, empty where it can, or where CDP_REQUIRE_DEVICES wants a failure instead."""
    if "CDP_REQUIRE_DEVICES" in os.environ:
        return ""
    return "" if ctypes.util.find_library("spnav") else "libspnav is not installed: make check-devices installs it"


def lacks_hidraw() -> str:
    """Why a virtual hidraw device cannot be read by pyspacemouse, empty where it can, or where CDP_REQUIRE_DEVICES wants a failure instead."""
    if "CDP_REQUIRE_DEVICES" in os.environ:
        return ""
    if importlib.util.find_spec("pyspacemouse") is None or ctypes.util.find_library("hidapi-hidraw") is None:
        return "pyspacemouse or hidapi is not installed: make check-devices installs them"
    probe = "import gi; gi.require_version('UMockdev', '1.0')"
    python = Path("/usr/bin/python3")
    if shutil.which("umockdev-wrapper") is None or subprocess.run([python, "-c", probe], capture_output=True).returncode != 0:
        return "umockdev is not installed: make check-devices installs it"
    return ""


class FakeSpacenavd:
    """The daemon's side of the socket: 8 int32 an event; protocol 1 answers requests and tells of devices, protocol 0 does neither."""

    def __init__(self, path: Path, protocol: int = 1) -> None:
        self.path, self.protocol, self.plugged = path, protocol, True
        self._clients: list[socket.socket] = []
        self._repeat: tuple[int, ...] | None = None
        self._lock = threading.Lock()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True), threading.Thread(target=self._repeating, daemon=True)]
        self._ended = threading.Event()
        for thread in self._threads:
            thread.start()

    def axes(self, x: int = 0, y: int = 0, z: int = 0, rx: int = 0, ry: int = 0, rz: int = 0) -> None:
        """A deflection in counts, in the daemon's frame, sent again and again as a hand's tremor does; zero is sent once."""
        with self._lock:
            self._repeat = (x, y, z, rx, ry, rz) if any((x, y, z, rx, ry, rz)) else None
        self._send(0, x, y, z, rx, ry, rz, 16)

    def button(self, number: int, pressed: bool) -> None:
        """A button goes down or up."""
        self._send(1 if pressed else 2, number)

    def unplug(self) -> None:
        """The device vanishes; a daemon of protocol 1 says so, an older one just falls silent."""
        with self._lock:
            self.plugged, self._repeat = False, None
        if self.protocol >= 1:
            self._send(3, 1, 0, 0x200, 0x256F, 0xC635)

    def plug(self) -> None:
        """It is back."""
        self.plugged = True
        if self.protocol >= 1:
            self._send(3, 0, 0, 0x200, 0x256F, 0xC635)

    @property
    def clients(self) -> int:
        """Connections that shook hands."""
        return len(self._clients)

    def close(self) -> None:
        """The daemon ends."""
        self._ended.set()
        # Closing alone would not wake the threads that wait on them, and the kernel would keep them open for those.
        with self._lock:
            for connection in (self._server, *self._clients):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()
            self._clients.clear()
        self.path.unlink(missing_ok=True)

    def _send(self, *numbers: int) -> None:
        data = struct.pack("=8i", *numbers, *([0] * (8 - len(numbers))))
        with self._lock:
            for client in list(self._clients):
                try:
                    client.sendall(data)
                except OSError:
                    self._clients.remove(client)

    def _repeating(self) -> None:
        while not self._ended.wait(0.01):
            values = self._repeat
            if values is not None:
                self._send(0, *values, 16)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            greeting = struct.unpack("=i", client.recv(4))[0]
            if self.protocol == 0:
                client.recv(4)  # an old daemon takes both words for sensitivities
            else:
                assert greeting & 0xFFFFFF00 == _REQUEST | _CHANGE_PROTOCOL
                client.sendall(struct.pack("=i", _REQUEST | _CHANGE_PROTOCOL | self.protocol))
            with self._lock:
                self._clients.append(client)
            while request := client.recv(32):
                self._answer(client, struct.unpack("=8i", request)[0])
        except (OSError, struct.error):
            pass

    def _answer(self, client: socket.socket, request: int) -> None:
        if request & 0xFFFF == _DEVICE_NAME and self.plugged:
            client.sendall(struct.pack("=i24si", request, _NAME.ljust(24, b"\0"), len(_NAME)))
        else:
            client.sendall(struct.pack("=8i", request, 0, 0, 0, 0, 0, 0, -1))


class VirtualSpaceMouse:
    """A hidraw SpaceMouse in a test bed of umockdev, which ``environment`` shows to a program."""

    def __init__(self) -> None:
        script = str(Path(__file__).with_name("virtual_spacemouse.py"))
        # The system's interpreter has the bindings; ours must not lend it its own libraries.
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(["umockdev-wrapper", "/usr/bin/python3", script], env=environment, **pipes)
        self.folder = self._process.stdout.readline().strip()
        assert self.folder, "umockdev gave no test bed"
        self._repeat: str | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeating, daemon=True)
        self._thread.start()

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the program that is to see the device."""
        return {"UMOCKDEV_DIR": self.folder, "LD_PRELOAD": "libumockdev-preload.so.0"}

    def axes(self, *counts: int) -> None:
        """Deflection in the counts and the frame of HID: x right, y towards the person, z down; sent again and again unless it is zero."""
        line = "axes " + " ".join(map(str, counts))
        self._say(line)
        self._repeat = line if any(counts) else None

    def buttons(self, mask: int) -> None:
        """Which buttons are down."""
        self._say(f"buttons {mask}")

    def unplug(self) -> None:
        """It vanishes."""
        self._repeat = None
        self._say("unplug")

    def plug(self) -> None:
        """It is back, as another hidraw number."""
        self._say("plug")

    def close(self) -> None:
        """End of the test bed."""
        self._ended.set()
        self._thread.join()
        self._process.stdin.close()
        self._process.wait(timeout=DEADLINE_S)
        self._process.stdout.close()

    def _say(self, line: str) -> None:
        with self._lock:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            assert self._process.stdout.readline().strip() == "ok"

    def _repeating(self) -> None:
        while not self._ended.wait(0.02):
            line = self._repeat
            if line is not None:
                self._say(line)


def until(condition, what: str, deadline_s: float = DEADLINE_S):
    """Wait for a condition, and return its value."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.002)
    return value
