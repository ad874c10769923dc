"""A ROS domain that nobody else on this machine is in."""

from __future__ import annotations

import collections
import contextlib
import errno
import random
import socket
from pathlib import Path

# Numbers that every DDS on every system can use, but for 0, where everybody is who chose none.
DOMAINS = range(1, 101)
# A process may take hundreds, one after another; several that do so at once leave one another enough.
KEPT = 20
_PORT_BASE, _DOMAIN_GAIN = 7400, 250
_UDP_TABLES = (Path("/proc/net/udp"), Path("/proc/net/udp6"))

_reserved: collections.deque[socket.socket] = collections.deque()


class DomainError(RuntimeError):
    """There is no free domain; the message says what to do."""


def own_domain() -> int:
    """A ROS domain from 1 to 100 in which no participant is, and which no other process on this machine gets from here.

    It stays this process's own until that ends or has taken ``KEPT`` more; the kernel takes the reservation, a socket's name, back. Set it as
    ``ROS_DOMAIN_ID`` of child processes: they do not inherit the reservation. Other machines are not asked. Raises :class:`DomainError`.

    A participant shows by its UDP ports: those of domain d lie between 7400 + 250 d and 7649 + 250 d (DDSI-RTPS 2.5, 9.6.2.3: PB + DG d + an offset,
    with the default PB = 7400, DG = 250). The multicast one, 7400 + 250 d, is not bound where discovery is kept to this machine.
    """
    candidates = list(DOMAINS)
    random.SystemRandom().shuffle(candidates)
    for domain in candidates:
        reservation = _reserve(domain)
        if reservation is None:
            continue
        # Only now: whoever had it reserved before has started its nodes by then.
        if domain in _inhabited():
            reservation.close()
            continue
        _reserved.append(reservation)
        while len(_reserved) > KEPT:
            _reserved.popleft().close()
        return domain
    raise DomainError(
        f"each ROS domain from {DOMAINS[0]} to {DOMAINS[-1]} is taken by another process on this machine: "
        "end what is left of earlier runs, or choose one yourself: export ROS_DOMAIN_ID=7"
    )


def _reserve(domain: int) -> socket.socket | None:
    """A socket of an abstract name, which one process at a time can have; None where another has it."""
    reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        reservation.bind(f"\0cdp-ros-domain-{domain}")
    except OSError as error:
        reservation.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return reservation


def _inhabited() -> set[int]:
    """Domains of whose ports one is bound, be it by a DDS or by chance."""
    found = set()
    for table in _UDP_TABLES:
        # A kernel without IPv6 has no second table.
        with contextlib.suppress(FileNotFoundError):
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                port = int(line.split()[1].rpartition(":")[2], 16)
                found.add((port - _PORT_BASE) // _DOMAIN_GAIN)
    return found
