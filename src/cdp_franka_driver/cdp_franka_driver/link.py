"""The node's end of the line to :mod:`arm_process`: starts it, hears it, and starts it anew when it dies or falls silent."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection

from cdp.geometry import FloatArray
from cdp_franka_driver.arm_process import RECOVER, Begin
from cdp_franka_driver.problems import Kind, Problem
from cdp_franka_driver.supervisor import Phase, Recovery, Report

LIBFRANKA = "cdp_franka_driver.libfranka_arm:LibfrankaArm"
# libfranka gives up on a robot that does not answer after 1 s, except where it waits forever.
SILENT_S = 3.0
# During a recovery the process is silent: pylibfranka waits for the robot with the interpreter lock held.
RECOVERY_S = 15.0
_END_S = 2.5
# A process that cannot even start is not tried again and again without a pause.
_RESTART_S = 0.5


class ArmLink:
    """``on_report`` is called from a thread of the link with each :class:`Report`."""

    def __init__(
        self, begin: Begin, on_report: Callable[[Report], None], factory: str = LIBFRANKA, silent_s: float = SILENT_S, recovery_s: float = RECOVERY_S
    ) -> None:
        self._begin, self._on_report, self._factory, self._silent_s, self._recovery_s = begin, on_report, factory, silent_s, recovery_s
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None
        self._closing = threading.Event()
        # Who waits for the answer to a recovery, and since when.
        self._asked: tuple[Callable[[Recovery], None], float] | None = None
        self._asking = threading.Lock()
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

    def recover(self, on_answer: Callable[[Recovery], None]) -> None:
        """Ask for ``automatic_error_recovery``; the answer comes once, within ``recovery_s``, here or in a thread of the link."""
        with self._asking:
            if self._asked is not None:
                refusal = "a recovery is under way; wait for its end"
            elif not self._send(RECOVER):
                refusal = "the process that owns the connection is being started; try again"
            else:
                self._asked = on_answer, time.monotonic()
                return
        on_answer(Recovery(False, refusal))

    def _answer(self, recovery: Recovery) -> None:
        with self._asking:
            asked, self._asked = self._asked, None
        if asked is not None:
            asked[0](recovery)

    def close(self) -> None:
        """End the motion and the process."""
        self._closing.set()
        line = self._line
        if line is not None:
            _shut(line)
        self._thread.join(_END_S)
        # The thread may have started another process meanwhile.
        line, process = self._line, self._process
        if line is not None and not self._thread.is_alive():
            with self._sending:
                self._line = None
                line.close()
        if process is not None:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self._answer(Recovery(False, "the driver ends"))

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
            self._answer(Recovery(False, problem.text))
            # The next process takes control again, not for the first time.
            self._begin = replace(self._begin, again=True)
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
            asked = self._asked
            if asked is not None and time.monotonic() - asked[1] > self._recovery_s:
                self._answer(Recovery(False, f"the robot did not answer within {self._recovery_s:g} s; look at its status, then ask again"))
            try:
                if not line.poll(0.1):
                    if self._asked is None and time.monotonic() - heard_s > self._silent_s:
                        return Problem(Kind.CONNECTION, "the robot does not answer: the connection is closed and made anew")
                    continue
                message = line.recv()
            except (EOFError, OSError):
                break
            heard_s = time.monotonic()
            if isinstance(message, Report):
                self._on_report(message)
            elif isinstance(message, Recovery):
                self._answer(message)
        return Problem(Kind.CONNECTION, "the process that owns the connection has died; it is started anew")


def _shut(line: Connection) -> None:
    """End what goes over the line in both directions: either end reads its end, and a thread that reads or writes here comes back by itself.

    A closed line would be no line any more to that thread, in the middle of a message.
    """
    with socket.socket(fileno=os.dup(line.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
