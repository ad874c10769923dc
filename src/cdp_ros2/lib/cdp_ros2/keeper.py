"""The launch's side of the guardian: starts it and tells it of children."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path


class Guardian:
    """The process that stops the children if the launch is killed."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("guardian.py").open("rb")
        with script:
            # Through a descriptor, so that its command line is not matched by `pkill -f ros2`, which would take it together with the launch.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", f"/proc/self/fd/{script.fileno()}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(script.fileno(),),
                start_new_session=True,
                bufsize=0,
            )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin

    def adopt_me(self, sigterm_timeout_s: float, sigkill_timeout_s: float) -> None:
        """Called in a child between fork and exec: gives it a process group of its own, which the guardian knows before the program runs."""
        os.setpgid(0, 0)
        os.write(self._pipe.fileno(), f"+{os.getpid()} {sigterm_timeout_s} {sigkill_timeout_s}\n".encode())

    def forget(self, group: int) -> None:
        """The process group is empty. A guardian that was killed is no reason to fail."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe.fileno(), b"-%d\n" % group)

    def close(self) -> None:
        """End the guardian."""
        self._pipe.close()
        self._process.wait()
