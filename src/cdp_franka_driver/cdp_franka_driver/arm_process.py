"""The process that owns the connection to the robot. ``python -m cdp_franka_driver.arm_process FD MODULE:FACTORY``, started by :mod:`link`.

In from the node: a :class:`ControlConfig` and the robot's address first, then targets (rows of :mod:`layout`) and :data:`RECOVER`. Out: a
:class:`Report` per step, :class:`Recovery`, and None as a sign of life. When the node goes, the arm is braked and the motion ended.
"""

from __future__ import annotations

import gc
import importlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from cdp_franka_driver.arm import Arm
from cdp_franka_driver.config import ControlConfig
from cdp_franka_driver.supervisor import Phase, Supervisor

RECOVER = "recover"
ALIVE_S = 0.2
# Long enough for the reference to coast and brake from any speed that the guard allows.
_BRAKE_S = 1.0


@dataclass(frozen=True)
class Begin:
    """What the process is told first. ``again``: it follows one that has ended."""

    robot_ip: str
    config: ControlConfig
    rate_hz: float
    again: bool = False


class ArmProcess:
    """Steps ``supervisor`` at ``rate_hz`` until the node at the other end of the line goes."""

    def __init__(self, node: Connection, supervisor: Supervisor, rate_hz: float) -> None:
        self._node, self._supervisor, self._period_s = node, supervisor, 1.0 / rate_hz
        self._asked, self._gone, self._sending = queue.SimpleQueue[str](), threading.Event(), threading.Lock()

    def run(self) -> None:
        """Returns when the arm is braked and the motion ended."""
        for task in (self._receive, self._live):
            threading.Thread(target=task, daemon=True).start()
        due_s = time.monotonic()
        while not self._gone.is_set():
            while not self._asked.empty():
                self._asked.get()
                self._send(self._supervisor.recover(time.monotonic()))
            self._send(self._supervisor.step(time.monotonic()))
            due_s = max(due_s + self._period_s, time.monotonic())
            self._gone.wait(due_s - time.monotonic())
        end_s = time.monotonic() + _BRAKE_S
        while time.monotonic() < end_s and self._supervisor.step(time.monotonic()).phase is Phase.CONTROLLING:
            time.sleep(self._period_s)
        self._supervisor.close()

    def _send(self, message: object) -> None:
        try:
            with self._sending:
                self._node.send(message)
        except OSError:
            self._gone.set()

    def _receive(self) -> None:
        try:
            while True:
                message = self._node.recv()
                if isinstance(message, np.ndarray):
                    self._supervisor.follow(message)
                else:
                    self._asked.put(message)
        except (EOFError, OSError):
            self._gone.set()

    def _live(self) -> None:
        # Falls silent exactly where libfranka waits forever: the node then ends this process.
        while not self._gone.wait(ALIVE_S):
            self._send(None)


def main() -> int:
    """Entry point."""
    # A Ctrl-C in the terminal is the node's to answer: the motion ends in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    node = Connection(int(sys.argv[1]))
    module, factory = sys.argv[2].split(":")
    begin: Begin = node.recv()
    made: Callable[[str, ControlConfig], Arm] = getattr(importlib.import_module(module), factory)
    gc.freeze()
    supervisor = Supervisor(lambda: made(begin.robot_ip, begin.config), ask=begin.config.resume == "ask", again=begin.again)
    ArmProcess(node, supervisor, begin.rate_hz).run()
    sys.stdout.flush()
    # A destructor of libfranka's may wait for a robot that is gone.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
