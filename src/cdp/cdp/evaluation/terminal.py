"""Single keys of a terminal while a rollout runs, read without waiting."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from typing import Any

_READ = 1024


class TerminalKeys:
    """Characters one by one and without echo between :meth:`open` and :meth:`close`; Ctrl-C still interrupts. Nothing where stdin is no terminal."""

    def __init__(self) -> None:
        self._fd: int | None = None
        self._settings: list[Any] = []

    def open(self) -> None:
        """Begin to read; what was typed before is dropped."""
        if not sys.stdin.isatty():
            return
        self._fd = sys.stdin.fileno()
        self._settings = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd, termios.TCSANOW)
        termios.tcflush(self._fd, termios.TCIFLUSH)

    def read(self) -> str:
        """The characters since the last call."""
        if self._fd is None or not select.select([self._fd], [], [], 0)[0]:
            return ""
        return os.read(self._fd, _READ).decode(errors="ignore")

    def close(self) -> None:
        """Put the terminal back as it was."""
        if self._fd is None:
            return
        termios.tcflush(self._fd, termios.TCIFLUSH)
        termios.tcsetattr(self._fd, termios.TCSANOW, self._settings)
        self._fd = None
