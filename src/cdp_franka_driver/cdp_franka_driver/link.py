"""The node's end of the line to :mod:`arm_process`: starts it, hears it, and starts it anew when it dies or falls silent."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from cdp.geometry import FloatArray
from cdp_franka_driver.arm_process import RECOVER, Begin
from cdp_franka_driver.problems import Kind, Problem
from cdp_franka_driver.supervisor import Phase, Recovery, Report

LIBFRANKA = "cdp_franka_driver.libfranka_arm:LibfrankaArm"
# libfranka gives up on a robot that does not answer after 1 s, except where it waits forever.
SILENT_S = 3.0
_END_S = 2.5
# A process that cannot even start is not tried again and again without a pause.
_RESTART_S = 0.5


class ArmLink:
    """``on_report`` is called from a thread of the link with each :class:`Report`."""

    def __init__(self, begin: Begin, on_report: Callable[[Report], None], factory: str = LIBFRANKA, silent_s: float = SILENT_S) -> None:
        self._begin, self._on_report, self._factory, self._silent_s = begin, on_report, factory, silent_s
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None
        self._closing = threading.Event()
        self._recovery: Recovery | None = None
        self._recovered = threading.Condition()
        self._sending = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="arm_link", daemon=True)
        self._thread.start()

    @property
    def process_id(self) -> int:
        """Of the process that owns the connection; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    def follow(self, target: FloatArray) -> None:
        """Send a target; without a process it is dropped."""
        self._send(target)

    def recover(self, within_s: float) -> Recovery:
        """Ask for ``automatic_error_recovery`` and wait for the answer."""
        with self._recovered:
            self._recovery = None
            if not self._send(RECOVER):
                return Recovery(False, "the process that owns the connection is being started; try again")
            self._recovered.wait_for(lambda: self._recovery is not None, within_s)
            return self._recovery or Recovery(False, f"the robot did not answer within {within_s} s")

    def close(self) -> None:
        """End the motion and the process."""
        self._closing.set()
        line, process = self._line, self._process
        if line is not None:
            # Its end of the line is what tells the process.
            self._line = None
            line.close()
        if process is not None:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join(_END_S)

    def _send(self, message: object) -> bool:
        line = self._line
        if line is None:
            return False
        try:
            with self._sending:
                line.send(message)
        except OSError:
            return False
        return True

    def _run(self) -> None:
        while not self._closing.is_set():
            self._start()
            problem = self._hear()
            if self._closing.is_set():
                return
            self._on_report(Report(Phase.CONNECTING, problem, None))
            process, self._line = self._process, None
            if process is not None:
                process.kill()
                process.wait()
            self._closing.wait(_RESTART_S)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cdp_franka_driver.arm_process", str(theirs.fileno()), self._factory], pass_fds=[theirs.fileno()]
            )
        line = Connection(ours.detach())
        line.send(self._begin)
        self._line = line

    def _hear(self) -> Problem:
        """Hand reports on until the process is dead or silent; returns which."""
        line = self._line
        heard_s = time.monotonic()
        while line is not None and not self._closing.is_set():
            try:
                if not line.poll(0.1):
                    if time.monotonic() - heard_s > self._silent_s:
                        return Problem(Kind.CONNECTION, "the robot does not answer: the connection is closed and made anew")
                    continue
                message = line.recv()
            except (EOFError, OSError):
                break
            heard_s = time.monotonic()
            if isinstance(message, Report):
                self._on_report(message)
            elif isinstance(message, Recovery):
                with self._recovered:
                    self._recovery = message
                    self._recovered.notify_all()
        return Problem(Kind.CONNECTION, "the process that owns the connection has died; it is started anew")
