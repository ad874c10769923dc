"""One line that stands for every command of an episode: equal lines, equal commands, bit for bit."""

from __future__ import annotations

import hashlib
import struct

from geometry_msgs.msg import PoseStamped
from trajectory_msgs.msg import JointTrajectory


class CommandDigest:
    """SHA-256 of the commands since :meth:`begin`: their times from there [ns] and every number in them, as IEEE doubles."""

    def __init__(self) -> None:
        self._begin_ns = 0
        self._commands: list[tuple[int, bytes]] = []

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest command, -1 before the first."""
        return self._commands[-1][0] if self._commands else -1

    def begin(self, begin_ns: int) -> None:
        """Forget what came before; times count from here."""
        self._begin_ns = begin_ns
        self._commands.clear()

    def add(self, stamp_ns: int, message: PoseStamped | JointTrajectory) -> None:
        """Take a command; what is sent again for an instant stands for what was sent before."""
        if self._commands and self._commands[-1][0] == stamp_ns:
            self._commands.pop()
        self._commands.append((stamp_ns, _numbers(message)))

    def until(self, end_ns: int) -> str:
        """Number and digest of the commands stamped from the beginning to ``end_ns``."""
        chosen = [(stamp_ns, numbers) for stamp_ns, numbers in self._commands if self._begin_ns <= stamp_ns <= end_ns]
        digest = hashlib.sha256()
        for stamp_ns, numbers in chosen:
            digest.update(struct.pack("<q", stamp_ns - self._begin_ns) + numbers)
        return f"{len(chosen)} sha256:{digest.hexdigest()}"


def _numbers(message: PoseStamped | JointTrajectory) -> bytes:
    if isinstance(message, PoseStamped):
        p, q = message.pose.position, message.pose.orientation
        values = [p.x, p.y, p.z, q.x, q.y, q.z, q.w]
    else:
        values = [v for point in message.points for part in (point.positions, point.velocities, point.accelerations) for v in part]
    return struct.pack(f"<{len(values)}d", *values)
