"""The line's end while the process on it talks; the process here is a few lines without a robot."""

import pickle
import struct
import subprocess
import sys
import threading

from cdp_franka_driver import link as link_module
from cdp_franka_driver.arm_process import Begin
from cdp_franka_driver.config import ControlConfig
from cdp_franka_driver.link import ArmLink
from cdp_franka_driver.supervisor import Phase, Report

DEADLINE_S = 30.0
CLOSINGS = 20


def message(thing):
    """As multiprocessing sends it: four bytes of length, then a pickle."""
    pickled = pickle.dumps(thing)
    return struct.pack("!i", len(pickled)) + pickled


# One report, then signs of life with a pause within, so that who reads is nearly always in the midst of one, its length not yet known.
TALK = f"""
import os, sys, time
line, alive = int(sys.argv[1]), {message(None)!r}
try:
    os.write(line, {message(Report(Phase.CONNECTING, None, None))!r})
    while True:
        os.write(line, alive[:3])
        time.sleep(0.002)
        os.write(line, alive[3:])
except OSError:
    os._exit(7)
"""
LISTEN = """
import os, sys
while os.read(int(sys.argv[1]), 4096):
    pass
os._exit(7)
"""


class Started:
    """What a link starts instead of the driver's process; :meth:`ends` gives how each one ended by itself."""

    def __init__(self, monkeypatch, code):
        self.processes, self.begun, self._code, self._real = [], threading.Event(), code, subprocess.Popen
        monkeypatch.setattr(link_module.subprocess, "Popen", self._start)

    def _start(self, command, pass_fds):
        self.processes.append(self._real([sys.executable, "-S", "-c", self._code, command[3]], pass_fds=pass_fds))
        self.begun.set()
        return self.processes[-1]

    def ends(self):
        try:
            return [process.wait(DEADLINE_S) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()


def link(on_report=lambda report: None):
    return ArmLink(Begin("fake", ControlConfig(), 100.0), on_report)


def test_the_line_is_closed_under_nobody_who_reads(monkeypatch):
    """Catches a line that is closed while the thread is in the midst of a message: a TypeError there."""
    raised, started = [], Started(monkeypatch, TALK)
    monkeypatch.setattr(threading, "excepthook", raised.append)
    for _ in range(CLOSINGS):
        heard = threading.Event()
        open_link = link(lambda report, heard=heard: heard.set())
        assert heard.wait(DEADLINE_S)
        open_link.close()
    assert started.ends() == [7] * CLOSINGS
    assert raised == []
    assert "arm_link" not in {thread.name for thread in threading.enumerate()}


def test_a_process_that_is_being_started_learns_of_the_end(monkeypatch):
    """Catches a process that lives on without anybody who knows of it."""
    started = Started(monkeypatch, LISTEN)
    open_link = link()
    assert started.begun.wait(DEADLINE_S)
    open_link.close()
    assert started.ends() == [7]
