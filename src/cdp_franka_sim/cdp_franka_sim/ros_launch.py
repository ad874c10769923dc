"""Runs `ros2 launch` as a child that never outlives its caller, whatever signal ends it."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from cdp_ros.domain import DomainError, own_domain

# The launch tool gives its nodes 5 s after SIGINT and 5 s after SIGTERM before it kills them; wait a little longer than both.
STOP_DEADLINE_S = 15.0


class LaunchError(RuntimeError):
    """The launch could not be started; the message says what to do."""


def add_launch_option(parser: argparse._ActionsContainer) -> None:
    """Add `--launch`, for the arguments of the launch file that a command has no option of its own for."""
    parser.add_argument(
        "--launch",
        nargs="+",
        default=[],
        metavar="NAME:=VALUE",
        help="arguments of the launch file, such as command_interface:=joint driver:=libfranka (docs/bringup.md)",
    )


def with_launch_option(arguments: Mapping[str, object], given: Sequence[str]) -> dict[str, object]:
    """The launch arguments with those of `--launch`. Raises :class:`LaunchError` for one that is no NAME:=VALUE, or that the command sets itself."""
    result = dict(arguments)
    for text in given:
        name, separator, value = text.partition(":=")
        if not separator or not name.isidentifier() or not value:
            raise LaunchError(f"--launch {text!r} is not of the form NAME:=VALUE, such as command_interface:=joint")
        if name in result:
            raise LaunchError(f"--launch {text!r}: {name} is set by the command itself; use its own option, or give {name} once")
        result[name] = value
    return result


def isolated_environment() -> dict[str, str]:
    """This environment, on a ROS domain of its own unless the user chose one, so that a run in simulation never meets a real robot's topics.

    Raises :class:`LaunchError` where no domain is free.
    """
    environment = dict(os.environ)
    if "ROS_DOMAIN_ID" not in environment:
        try:
            environment["ROS_DOMAIN_ID"] = str(own_domain())
        except DomainError as error:
            raise LaunchError(str(error)) from None
    environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    # A pool a thread a core in each of five processes would starve the control loops.
    environment.setdefault("OMP_NUM_THREADS", "1")
    return environment


def run_launch_file(package: str, launch_file: str, arguments: Mapping[str, object]) -> int:
    """Run a launch file to its end and give its exit status; see :func:`launched`.

    In simulation on a ROS domain as :func:`isolated_environment` has it; with a ``robot_ip`` on the user's, where other terminals engage the guard.
    """
    environment = os.environ if arguments.get("robot_ip") else isolated_environment()
    with launched(package, launch_file, arguments, environment) as process:
        return process.wait()


@contextlib.contextmanager
def launched(
    package: str, launch_file: str, arguments: Mapping[str, object], environment: Mapping[str, str], output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A launch file that runs as long as the block; what it says goes to ``output``, by default where this process writes.

    SIGINT and SIGTERM to this process leave the block by SystemExit, and end the launch and all its nodes before they take effect. Raises
    :class:`LaunchError` where there is no ``ros2`` command.
    """
    ros2 = shutil.which("ros2")
    if ros2 is None:
        raise LaunchError("no `ros2` command on the PATH: run `. tools/env.sh` (or source your ROS 2 and this workspace) and try again")
    command = [ros2, "launch", package, launch_file, *(f"{name}:={_text(value)}" for name, value in arguments.items())]
    errors = None if output is None else subprocess.STDOUT
    process = subprocess.Popen(command, env=dict(environment), stdout=output, stderr=errors, start_new_session=True)

    def end(signum: int, frame: types.FrameType | None) -> None:
        raise SystemExit(128 + signum)

    previous = {s: signal.signal(s, end) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield process
    finally:
        for s in previous:
            signal.signal(s, signal.SIG_IGN)
        _stop(process)
        for s, handler in previous.items():
            signal.signal(s, handler)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        if process.poll() is not None:
            break
        process.send_signal(signum)
        try:
            process.wait(timeout=STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            continue
    # The launch led a session of its own: whatever is left in its group is an orphan.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
