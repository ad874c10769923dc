"""Runs a program under the launch's care: its output, its end, its restart, its stop."""

from __future__ import annotations

import asyncio
import errno
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdp_ros2 import events
from cdp_ros2.actions import SomeSeconds, seconds
from cdp_ros2.entity import Action
from cdp_ros2.errors import LaunchError
from cdp_ros2.guardian import group_alive, signal_group
from cdp_ros2.substitutions import SomeText, perform, to_substitutions

if TYPE_CHECKING:
    from cdp_ros2.context import LaunchContext

LEFTOVER_POLL_S = 0.05
OUTPUTS = ("screen", "log", "both")


@dataclass(frozen=True)
class Program:
    """What to run, every value known."""

    name: str
    cmd: list[str]
    cwd: str | None
    env: dict[str, str]
    output: str
    emulate_tty: bool
    respawn: bool
    respawn_delay_s: float
    sigterm_timeout_s: float
    sigkill_timeout_s: float
    temporary_files: list[Path] = field(default_factory=list)


class Child:
    """One run of a program, in a process group of its own."""

    def __init__(self, program: Program, context: LaunchContext) -> None:
        if context.guardian is None:
            raise LaunchError("a process can be started only by a running launch service")
        self.program = program
        self._log = context.log
        self._guardian = context.guardian
        self._readers: list[LineReader] = []
        self.ended = asyncio.Event()
        self.returncode: int | None = None
        ends = [os.openpty() if program.emulate_tty else os.pipe() for _ in range(2)]
        try:
            self._popen = subprocess.Popen(
                program.cmd,
                cwd=program.cwd,
                env=program.env,
                stdin=subprocess.DEVNULL,
                stdout=ends[0][1],
                stderr=ends[1][1],
                # Runs between fork and exec; the launch has one thread, so nothing can be locked there.
                preexec_fn=partial(self._guardian.adopt_me, program.sigterm_timeout_s, program.sigkill_timeout_s),
            )
        except OSError as error:
            for descriptor, _ in ends:
                os.close(descriptor)
            raise LaunchError(f"[{program.name}] cannot be started: {error.strerror or error}: {shlex.join(program.cmd)}") from error
        finally:
            for _, descriptor in ends:
                os.close(descriptor)
        self.pid = self._popen.pid
        self._readers = [LineReader(ends[0][0], self._stdout), LineReader(ends[1][0], self._stderr)]
        self._pidfd = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_end)

    def _stdout(self, text: str) -> None:
        self._log.line(f"[{self.program.name}] {text}", screen=self.program.output != "log", file=self.program.output != "screen")

    def _stderr(self, text: str) -> None:
        # As in the genuine launch, `log` keeps errors on the screen.
        self._log.line(f"[{self.program.name}] {text}", file=self.program.output != "screen", stderr=True)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.returncode = self._popen.wait()
        for reader in self._readers:
            reader.close()
        self.ended.set()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group."""
        self._log.info(self.program.name, f"sending signal '{number.name}' to process[{self.program.name}]")
        signal_group(self.pid, number)

    async def clear_group(self) -> None:
        """Stop what the program left behind in its process group."""
        for number, patience_s in ((signal.SIGTERM, self.program.sigkill_timeout_s), (signal.SIGKILL, self.program.sigkill_timeout_s)):
            if not group_alive(self.pid):
                break
            self._log.warning(self.program.name, f"left processes behind; sending '{number.name}' to them")
            signal_group(self.pid, number)
            deadline = asyncio.get_running_loop().time() + patience_s
            while group_alive(self.pid) and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(LEFTOVER_POLL_S)
        self._guardian.forget(self.pid)


class LineReader:
    """Passes on the lines that arrive on a descriptor, and an unfinished last one when it is closed."""

    def __init__(self, descriptor: int, write: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._write = write
        self._rest = b""
        self._open = True
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> bool:
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # A pseudo terminal without a writer.
                raise
            data = b""
        if not data:
            self._end()
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._write(line.rstrip(b"\r").decode("utf-8", errors="replace"))
        return True

    def close(self) -> None:
        """Pass on what has arrived, and stop; a writer that lives on is not waited for."""
        while self._open and self._read():
            pass
        self._end()

    def _end(self) -> None:
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            if self._rest:
                self._write(self._rest.decode("utf-8", errors="replace"))


class ExecuteProcess(Action):
    """Runs a program until it ends or the launch does."""

    def __init__(
        self,
        *,
        cmd: Iterable[SomeText],
        name: SomeText | None = None,
        cwd: SomeText | None = None,
        env: Mapping[str, SomeText] | None = None,
        additional_env: Mapping[str, SomeText] | None = None,
        shell: bool = False,
        output: SomeText = "log",
        emulate_tty: bool | SomeText = False,
        respawn: bool | SomeText = False,
        respawn_delay: SomeSeconds | None = None,
        on_exit: events.Reaction = None,
        sigterm_timeout: SomeSeconds = "5",
        sigkill_timeout: SomeSeconds = "5",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.cmd = [to_substitutions(part) for part in cmd]
        self.name = None if name is None else to_substitutions(name)
        self.cwd = None if cwd is None else to_substitutions(cwd)
        self.env, self.additional_env = env, additional_env
        self.shell = shell
        self.output = to_substitutions(output)
        self.emulate_tty, self.respawn, self.respawn_delay = emulate_tty, respawn, respawn_delay
        self.on_exit = on_exit
        self.sigterm_timeout, self.sigkill_timeout = sigterm_timeout, sigkill_timeout
        self._children: list[Child] = []

    # ---- before it runs
    def command(self, context: LaunchContext) -> tuple[list[str], list[Path]]:
        """Return the command line, and the temporary files that it names."""
        return [perform(context, part) for part in self.cmd], []

    def program(self, context: LaunchContext) -> Program:
        """Return what is to be run. Raises LaunchError for a value that cannot be used."""
        output = context.environment.get("OVERRIDE_LAUNCH_PROCESS_OUTPUT") or perform(context, self.output)
        if output not in OUTPUTS:
            raise LaunchError(f"output must be one of {', '.join(OUTPUTS)}, got '{output}'")
        env = context.environment if self.env is None else {key: perform(context, value) for key, value in self.env.items()}
        env = {**env, **{key: perform(context, value) for key, value in (self.additional_env or {}).items()}}
        cmd, temporary_files = self.command(context)
        name = perform(context, self.name) if self.name is not None else Path(cmd[0].split()[0] if self.shell else cmd[0]).name
        return Program(
            name=f"{name}-{context.next_process_number()}",
            cmd=["/bin/sh", "-c", " ".join(cmd)] if self.shell else cmd,
            cwd=None if self.cwd is None else perform(context, self.cwd),
            env=env,
            output=output,
            emulate_tty=truth(context, "emulate_tty", self.emulate_tty),
            respawn=truth(context, "respawn", self.respawn),
            respawn_delay_s=0.0 if self.respawn_delay is None else seconds(context, "respawn_delay", self.respawn_delay),
            sigterm_timeout_s=seconds(context, "sigterm_timeout", self.sigterm_timeout),
            sigkill_timeout_s=seconds(context, "sigkill_timeout", self.sigkill_timeout),
            temporary_files=temporary_files,
        )

    def execute(self, context: LaunchContext) -> None:
        """Start the program, unless the launch is ending."""
        if context.shutdown.is_set():
            return
        context.spawn(self._run(context, self.program(context)))

    # ---- while it runs
    async def _run(self, context: LaunchContext, program: Program) -> None:
        try:
            while not context.shutdown.is_set():
                await self._run_once(context, program)
                if not program.respawn:
                    break
                await wait_for(context.shutdown, program.respawn_delay_s)
        finally:
            for path in program.temporary_files:
                path.unlink(missing_ok=True)

    async def _run_once(self, context: LaunchContext, program: Program) -> None:
        child = Child(program, context)
        self._children.append(child)
        started: dict[str, Any] = {"action": self, "name": program.name, "cmd": program.cmd, "cwd": program.cwd, "env": program.env, "pid": child.pid}
        context.log.info(program.name, f"process started with pid [{child.pid}]")
        context.emit(events.ProcessStarted(**started))
        stopping = asyncio.ensure_future(self._stop_with_launch(context, child))
        try:
            await child.ended.wait()
        finally:
            stopping.cancel()
        await child.clear_group()
        self._children.remove(child)
        returncode = child.returncode
        assert returncode is not None
        if returncode == 0:
            context.log.info(program.name, f"process has finished cleanly [pid {child.pid}]")
        else:
            context.log.error(program.name, f"process has died [pid {child.pid}, exit code {returncode}, cmd '{shlex.join(program.cmd)}'].")
        exited = events.ProcessExited(returncode=returncode, **started)
        if self.on_exit is not None:
            events.react(self.on_exit, exited, context)
        context.emit(exited)

    async def _stop_with_launch(self, context: LaunchContext, child: Child) -> None:
        await context.shutdown.wait()
        child.signal(signal.SIGINT)
        await wait_for(context.hurry[0], child.program.sigterm_timeout_s)
        context.log.error(child.program.name, f"process did not end within {child.program.sigterm_timeout_s:g} s of SIGINT, or was told to hurry")
        child.signal(signal.SIGTERM)
        await wait_for(context.hurry[1], child.program.sigkill_timeout_s)
        context.log.error(child.program.name, f"process did not end within {child.program.sigkill_timeout_s:g} s of SIGTERM, or was told to hurry")
        child.signal(signal.SIGKILL)


async def wait_for(event: asyncio.Event, timeout_s: float) -> bool:
    """Whether the event was set within the time."""
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except asyncio.TimeoutError:
        return False
    return True


def truth(context: LaunchContext, what: str, value: bool | SomeText) -> bool:
    """Value of a switch. Raises LaunchError where it is neither true nor false."""
    text = str(value) if isinstance(value, bool) else perform(context, value)
    if text.strip().lower() not in ("true", "1", "false", "0"):
        raise LaunchError(f"{what} must be true or false, got '{text}'")
    return text.strip().lower() in ("true", "1")
