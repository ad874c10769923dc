"""The way to the arm: how long packets take, and whether the Franka Control Interface answers."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from cdp_teleop_recorder.doctor.finding import Finding

FCI_PORT = 1337
DESK_PORT = 443
#: Protocol version of the FR3's interface (libfranka 0.18 and newer).
FCI_VERSION = 10
COUNT = 500
_PACKET_BYTES = 1200  # what Franka's own check of the network sends
_ANSWER_S = 0.1
_PAUSE_S = 0.002  # between two, so that a second and more of the network is seen
_CONNECT_S = 2.0
_GIVE_UP = 10  # unanswered from the first on
_CONNECT = struct.Struct("<IIIHH")  # command, id, size in all, version, port of the client's UDP socket
_ANSWER = struct.Struct("<IIIBH")  # command, id, size in all, status, version
_INCOMPATIBLE = 1

#: Round trips [s] to an address, None for each that was not answered, and what was sent.
Pings = Callable[[str, int], tuple[Sequence[float | None], str]]


def round_trips(address: str, pings: Pings, count: int = COUNT) -> Iterator[Finding]:
    """Statistics of ``count`` round trips. A control packet has one millisecond for its way, the loop and its way back."""
    times, what = pings(address, count)
    answered = 1e3 * np.array([t for t in times if t is not None], dtype=np.float64)
    cable = f"take a cable straight to the control box, no switch, no Wi-Fi\nsudo ping -c 1000 -i 0.01 -s {_PACKET_BYTES} {address}"
    if not len(answered):
        yield Finding("network", "fail", f"{address} answers none of {len(times)} packets ({what})", f"ip route get {address}\nping {address}")
        return
    lost = len(times) - len(answered)
    p99, most = float(np.percentile(answered, 99)), float(answered.max())
    text = f"{address}: {lost} of {len(times)} lost, round trip {np.median(answered):.2f} ms median, {p99:.2f} ms p99, {most:.2f} ms at most ({what})"
    if lost > 0.01 * len(times) or p99 >= 1.0:
        yield Finding("network", "fail", f"{text}; the arm stops when packets are late or lost", cable)
    elif lost or p99 >= 0.5 or most >= 1.0:
        yield Finding("network", "warn", text, cable)
    else:
        yield Finding("network", "ok", text)


def ping(address: str, count: int) -> tuple[list[float | None], str]:
    """ICMP echoes, or where that is not permitted TCP connections to Desk's port, of which a refusal is an answer too."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sock:
            sock.settimeout(_ANSWER_S)
            return _spaced(lambda number: _echo(sock, address, number), count), f"ICMP, {_PACKET_BYTES} bytes"
    except PermissionError:
        return _spaced(lambda _: _knock(address, DESK_PORT), min(count, 100)), f"TCP to port {DESK_PORT}, since this user may not send ICMP"


def _spaced(once: Callable[[int], float | None], count: int) -> list[float | None]:
    times = []
    for number in range(count):
        times.append(once(number))
        if number == _GIVE_UP and not any(times):
            break
        time.sleep(_PAUSE_S)
    return times


def _echo(sock: socket.socket, address: str, number: int) -> float | None:
    header = struct.pack("!BBHHH", 8, 0, 0, 0, number)  # the kernel fills in identifier and checksum
    start = time.perf_counter()
    try:
        sock.sendto(header + bytes(_PACKET_BYTES), (address, 0))
        while True:
            answer = sock.recv(65536)
            if struct.unpack("!H", answer[6:8])[0] == number:
                return time.perf_counter() - start
            if time.perf_counter() - start > _ANSWER_S:
                return None
    except PermissionError:
        raise
    except OSError:
        return None


def _knock(address: str, port: int) -> float | None:
    start = time.perf_counter()
    try:
        socket.create_connection((address, port), timeout=_ANSWER_S).close()
    except ConnectionRefusedError:
        pass
    except OSError:
        return None
    return time.perf_counter() - start


def fci(address: str, port: int, handshake: bool) -> Iterator[Finding]:
    """Whether the control interface accepts a connection; with ``handshake`` also whether it speaks our libfranka's version."""
    desk = f"open https://{address} (Desk), unlock the joints, choose Activate FCI; the light at the base turns blue\nxdg-open https://{address}"
    try:
        connection = socket.create_connection((address, port), timeout=_CONNECT_S)
    except ConnectionRefusedError:
        yield Finding("fci", "fail", f"{address} is there, but its control interface (TCP {port}) is off", desk)
        return
    except OSError as error:
        reach = f"power, cable, and this machine's own address in the same network\nip route get {address}"
        yield Finding("fci", "fail", f"{address} cannot be reached (TCP {port}): {error.strerror or error}", reach)
        return
    with connection:
        if not handshake:
            yield Finding("fci", "ok", f"{address} accepts connections on TCP {port}")
            return
        yield _hands(connection, address)


def _hands(connection: socket.socket, address: str) -> Finding:
    busy = "end what else talks to the arm (a driver, another machine), then look again"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as states:
        states.bind(("", 0))
        try:
            connection.sendall(_CONNECT.pack(0, 1, _CONNECT.size, FCI_VERSION, states.getsockname()[1]))
            answer = b""
            while len(answer) < _ANSWER.size:
                part = connection.recv(_ANSWER.size - len(answer))
                if not part:
                    return Finding("fci", "fail", f"{address} closes the connection instead of answering", busy)
                answer += part
        except OSError as error:
            return Finding("fci", "fail", f"{address} accepts a connection and does not answer: {error.strerror or error}", busy)
    status, version = _ANSWER.unpack(answer)[3:]
    if status == _INCOMPATIBLE or version != FCI_VERSION:
        text = f"{address} speaks version {version} of the interface, not {FCI_VERSION}"
        return Finding(
            "fci", "fail", text, "a libfranka for the arm's system image, or a newer image: https://frankarobotics.github.io/docs/compatibility.html"
        )
    if status:
        return Finding("fci", "fail", f"{address} refuses the connection (status {status})", busy)
    return Finding("fci", "ok", f"{address} speaks version {version} of the interface")


def skipped() -> Iterator[Finding]:
    """What is said of the arm where no address was given."""
    yield Finding("network", "warn", "the way to the arm was not looked at", "cdp doctor --robot-ip 172.16.0.2")
