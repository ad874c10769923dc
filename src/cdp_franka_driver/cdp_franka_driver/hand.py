"""Franka's hand over its own wire protocol (port 1338, version 3): goals that do not block, the width while they run, and a stop in between.

libfranka's Python package cannot do that: its calls wait for the end of a goal with Python's interpreter lock held, so that nothing can be read or
stopped meanwhile. Messages are packed, little endian: a header of command (u16), number (u32) and length with the header (u32), then arguments; an
answer has the same header and a status (u16). States come as UDP datagrams: number (u32), width and greatest width (f64), grasped (u8),
temperature (u16).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

PORT, VERSION = 1338, 3
_TIMEOUT_S = 1.0
_HEADER, _CONNECTED, _STATE = struct.Struct("<HII"), struct.Struct("<HH"), struct.Struct("<IddBH")


class Command(IntEnum):
    """What can be asked of the hand."""

    CONNECT = 0
    HOMING = 1
    GRASP = 2
    MOVE = 3
    STOP = 4


class Status(IntEnum):
    """How a goal ended. A grasp that met nothing of the asked size is UNSUCCESSFUL."""

    SUCCESS = 0
    FAIL = 1
    UNSUCCESSFUL = 2
    ABORTED = 3


@dataclass(frozen=True)
class HandState:
    """Opening between the fingers, the greatest that homing found [m], and whether something is held."""

    width_m: float
    max_width_m: float
    grasped: bool


@dataclass(frozen=True)
class Answer:
    """The end of the goal ``number``."""

    number: int
    status: Status


class HandError(Exception):
    """The hand is not there, or speaks otherwise; the connection is of no more use."""


class Hand:
    """A connected hand; no call waits but the constructor, for a second at most."""

    def __init__(self, robot_ip: str, port: int = PORT) -> None:
        """Raises HandError."""
        self._number, self._buffer = 0, b""
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("", 0))
        self._udp.setblocking(False)
        try:
            self._tcp = socket.create_connection((robot_ip, port), _TIMEOUT_S)
            self._tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._send(Command.CONNECT, struct.pack("<HH", VERSION, self._udp.getsockname()[1]))
            _, _, length = _HEADER.unpack(self._receive(_HEADER.size))
            # An answer may be longer than what is read of it.
            answer = self._receive(max(length - _HEADER.size, _CONNECTED.size))
        except OSError as error:
            self._udp.close()
            raise HandError(
                f"no hand at {robot_ip}:{port} ({error}): mount it, choose it as the end effector in Desk, and activate FCI; it is tried again"
            ) from None
        status, version = _CONNECTED.unpack_from(answer)
        if status != 0:
            self.close()
            raise HandError(f"the hand speaks version {version} of its protocol, this driver {VERSION}: update the robot's system")
        self._tcp.setblocking(False)

    def homing(self) -> int:
        """Find the fingers' range; returns the goal's number."""
        return self._send(Command.HOMING)

    def move(self, width_m: float, speed_m_s: float) -> int:
        """Open or close to a width; returns the goal's number."""
        return self._send(Command.MOVE, struct.pack("<2d", width_m, speed_m_s))

    def grasp(self, width_m: float, speed_m_s: float, force_n: float, inner_m: float, outer_m: float) -> int:
        """Close until something of this width, within the tolerances, is held with the force; returns the goal's number."""
        return self._send(Command.GRASP, struct.pack("<5d", width_m, inner_m, outer_m, speed_m_s, force_n))

    def stop(self) -> int:
        """Stop the fingers; the goal under way ends as ABORTED."""
        return self._send(Command.STOP)

    def answers(self) -> list[Answer]:
        """Goals that have ended since the last call. Raises HandError where the connection has."""
        try:
            while data := self._tcp.recv(4096):
                self._buffer += data
            raise HandError("the robot has closed the connection to the hand; it is made anew")
        except BlockingIOError:
            pass
        except OSError as error:
            raise HandError(f"the connection to the hand is lost ({error}); it is made anew") from None
        found = []
        while len(self._buffer) >= _HEADER.size:
            _, number, length = _HEADER.unpack_from(self._buffer)
            if len(self._buffer) < length:
                break
            (status,) = struct.unpack_from("<H", self._buffer, _HEADER.size)
            found.append(Answer(number, Status(status)))
            self._buffer = self._buffer[length:]
        return found

    def state(self) -> HandState | None:
        """The newest state since the last call."""
        newest = None
        try:
            while True:
                newest = self._udp.recv(256)
        except OSError:
            pass
        if newest is None or len(newest) < _STATE.size:
            return None
        _, width_m, max_width_m, grasped, _ = _STATE.unpack_from(newest)
        return HandState(width_m, max_width_m, bool(grasped))

    def close(self) -> None:
        """End the connection."""
        self._tcp.close()
        self._udp.close()

    def _send(self, command: Command, arguments: bytes = b"") -> int:
        self._number += 1
        try:
            self._tcp.sendall(_HEADER.pack(command, self._number, _HEADER.size + len(arguments)) + arguments)
        except OSError as error:
            if command is Command.CONNECT:
                raise
            raise HandError(f"the connection to the hand is lost ({error}); it is made anew") from None
        return self._number

    def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._tcp.recv(count - len(data))
            if not part:
                raise ConnectionResetError("it closed the connection")
            data += part
        return data
