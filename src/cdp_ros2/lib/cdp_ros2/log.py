"""Lines of a launch: on the screen, and in `launch.log` of the launch's own directory."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import TextIO


def log_directory(environment: dict[str, str]) -> Path:
    """Return the directory of this launch's log, by ROS's variables: ROS_LOG_DIR, else ROS_HOME/log, else ~/.ros/log."""
    base = environment.get("ROS_LOG_DIR") or str(Path(environment.get("ROS_HOME") or "~/.ros") / "log")
    return Path(base).expanduser() / f"{time.strftime('%Y-%m-%d-%H-%M-%S')}-{socket.gethostname()}-{os.getpid()}"


class Log:
    """Writes prefixed lines to the screen, to the log file, or to both. A screen that has gone away is not an error: `lost` says so."""

    def __init__(self, directory: Path | None = None) -> None:
        self.lost = False
        self._file: TextIO | None = None
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                self._file = (directory / "launch.log").open("a", encoding="utf-8", buffering=1)
            except OSError as error:
                self.warning("launch", f"no log file: {directory}: {error.strerror} (ROS_LOG_DIR chooses another place)")
            else:
                self.info("launch", f"All log files can be found below {directory}")

    def info(self, name: str, text: str) -> None:
        """Write an information line to both."""
        self.line(f"[INFO] [{name}]: {text}")

    def warning(self, name: str, text: str) -> None:
        """Write a warning line to both."""
        self.line(f"[WARNING] [{name}]: {text}")

    def error(self, name: str, text: str) -> None:
        """Write an error line to both."""
        self.line(f"[ERROR] [{name}]: {text}")

    def line(self, text: str, *, screen: bool = True, file: bool = True, stderr: bool = False) -> None:
        """Write a line where it belongs."""
        if screen and not self.lost:
            try:
                stream = sys.stderr if stderr else sys.stdout
                stream.write(text + "\n")
                stream.flush()
            except BrokenPipeError:
                self.lost = True
                # Python flushes the stream once more at exit: let it go nowhere.
                os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if stderr else sys.stdout).fileno())
        if file and self._file is not None:
            self._file.write(f"{time.time():.7f} {text}\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
