"""Kills a recording again and again, at random moments and on a full disk, and looks what became of the episodes.

``python benchmarks/crash_recording.py [--kills 100] [--disk-kills 100] [--seed 0]``

Each round forks a process that records one episode after another, through the recorder's own session and writer (without ROS, whose start would take
most of the time; the node's own test kills the node), and SIGKILLs it at a moment drawn from the seed: while it starts, records, brings a file to
the disk or recovers. It tells through a pipe which episodes it had ended and what it knew to be on the disk. The process that was making a file is
killed as well, or in every third round outlives it. Then the episodes are recovered, in every fourth round by a process that is killed too, and
everything is compared with what was sent, number by number.

With the disk filling up, the folder is on a file system in memory that is all but full, mounted in a name space of our own, so that the system itself
says that there is no room; where the system grants no such name space, a limit on the size of a file stands in for it, and the first line says so.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np

from cdp.data.durable import PART_SUFFIX
from cdp.data.episode import EpisodeError, EpisodeReader
from cdp.data.journal import journals
from cdp.data.recover import recover
from cdp_teleop_recorder.recorder_parameters import RecorderParameters
from cdp_teleop_recorder.recorder_session import RecorderSession

MS = 1_000_000
CAMERA, STATE = "agentview_image", "joint_pos"
SIZE = (96, 128)
IMAGE_EVERY = 33
FLUSH_PERIOD_S = 0.02
RECOVERY_KILLED_EVERY = 4
MOUNTED = "CDP_CRASH_MOUNTED"
DISK_MB = 64
# What is left of it, in bytes: less than the episodes of a life, and with the recorder's reserve of 1 MB above it in some rounds.
ROOM_BYTES = (100_000, 1_600_000)
LONGEST_LIFE_S = 3.0
LONGEST_LIFE_ON_A_FULL_DISK_S = 3.0
PR_SET_CHILD_SUBREAPER = 36


class LossError(Exception):
    """What must not happen has happened."""


def picture(k: int) -> np.ndarray:
    """Image ``k``, whose mean tells its number, with noise so that it fills a disk."""
    noise = np.random.default_rng(k).integers(0, 40, (*SIZE, 3))
    return (noise + 20 + k % 150).astype(np.uint8)


def record_for_ever(folder: Path, seed: int, tell: Callable[[str], None], reserve_mb: int) -> None:
    """Episodes of random lengths, 1 kHz of states and 30 Hz of images in their own time, as fast as the writer takes them."""
    rng = np.random.default_rng(seed)
    parameters = RecorderParameters(
        directory=str(folder), required_streams=(), min_free_mb=0, reserve_mb=reserve_mb, flush_period_s=FLUSH_PERIOD_S, joint_rate_hz=1000.0
    )
    session = RecorderSession(parameters, "sim")
    while True:
        started = session.start("crash", "nobody", seed, 0)
        if not started.success:
            tell("refused - 0")
            time.sleep(0.01)
            continue
        tell(f"start {started.episode} 0")
        outcome = None
        for k in range(int(rng.integers(20, 600))):
            session.add(STATE, k * MS, k * MS, {"data": np.full(7, float(k))})
            if k % IMAGE_EVERY == 0:
                session.add(CAMERA, k * MS, k * MS, {"data": picture(k // IMAGE_EVERY)})
            if k % 50 == 49:
                wait_for_the_writer(session)
                _, outcome = session.tick(k * MS)
                if outcome is not None:
                    break
                tell(f"safe {started.episode} {session._writer.synced[STATE]}")
        if outcome is None:
            outcome = session.stop(True, True, "", 0)
        word = "done" if outcome.success else "ended"
        tell(f"{word} {started.episode} {k + 1 if outcome.success else 0}")


def wait_for_the_writer(session: RecorderSession) -> None:
    """A disk that fills is the point here, not a queue."""
    while session._writer._queue.qsize() > 100 and session._writer.error is None:
        time.sleep(0.001)


def adopt_orphans() -> None:
    """From here on a process whose parent was killed becomes ours: the recorder's that makes a file outlives it."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def children() -> set[int]:
    """Our processes."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == os.getpid():
                found.add(int(path.parent.name))
    return found


def killed(life_s: float, work: Callable[[Callable[[str], None]], None], spare_orphans: bool = False) -> list[str]:
    """Run ``work`` in a process of its own and kill it after ``life_s``; returns the lines that it told before.

    What it had started itself is killed with it, or waited for.
    """
    adopt_orphans()
    before = children()
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        try:
            work(lambda line: os.write(sending, f"{line}\n".encode()) and None)
        finally:
            os._exit(0)
    os.close(sending)
    told = bytearray()
    end_s = time.monotonic() + life_s
    while (left_s := end_s - time.monotonic()) > 0:
        if select.select([receiving], [], [], left_s)[0]:
            piece = os.read(receiving, 65536)
            if not piece:
                break
            told += piece
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for orphan in children() - before:
        if not spare_orphans:
            os.kill(orphan, signal.SIGKILL)
        os.waitpid(orphan, 0)
    while piece := os.read(receiving, 65536):
        told += piece
    os.close(receiving)
    return told.decode().splitlines()


def check(folder: Path, lines: list[str], tally: Counter[str]) -> None:
    """Compare the episodes in ``folder``, recovered, with what was told of them. Raises :class:`LossError`."""
    safe: dict[str, int] = {}
    done: dict[str, int] = {}
    for line in lines:
        word, name, count = line.split()
        if word in ("safe", "start"):
            safe[name] = int(count)
        elif word == "done":
            done[name] = int(count)
        if word in ("done", "ended", "refused"):
            tally[word] += 1
    files = {path.stem: path for path in folder.glob("*.hdf5")}
    for name in safe:
        if name not in files:
            raise LossError(f"{name} is gone; {safe[name]} of its states were on the disk")
    rest = [path.name for path in folder.iterdir() if path.name.endswith(PART_SUFFIX) or path in journals(folder) or "damaged" in path.name]
    if rest:
        raise LossError(f"{', '.join(rest)} was left over")
    for name, path in files.items():
        count, recovered = content(path)
        if name in done and count != done[name]:
            raise LossError(f"{name} was finished with {done[name]} states and has {count}")
        if count < safe.get(name, 0):
            raise LossError(f"{name} has {count} states; {safe[name]} were on the disk")
        tally["recovered"] += recovered
        tally["states"] += count
        tally["states beyond what was known to be on the disk"] += count - done.get(name, safe.get(name, 0))


def content(path: Path) -> tuple[int, bool]:
    """States of an episode, each in its place, its images whole; and whether it was recovered. Raises :class:`LossError`."""
    try:
        with EpisodeReader(path) as episode:
            states = episode.column(STATE)
            if not np.array_equal(states[:, 0], np.arange(len(states))) or not np.array_equal(episode.stamps_ns(STATE), np.arange(len(states)) * MS):
                raise LossError(f"{path.name} does not hold what was sent")
            stamps = episode.stamps_ns(CAMERA)
            for i in range(0, len(stamps), 7):
                sent = picture(int(stamps[i]) // MS // IMAGE_EVERY)
                if np.abs(episode.image(i).astype(int) - sent).mean() > 12:
                    raise LossError(f"image {i} of {path.name} is another one")
            return len(states), episode.labels.recovered
    except (EpisodeError, OSError, KeyError) as error:
        raise LossError(f"{path.name} is unreadable: {error}") from error


def rounds(kills: int, seed: int, folder: Path, disk: Disk | None) -> Counter[str]:
    """Kill ``kills`` times; on a ``disk`` that fills, or with room enough. Raises :class:`LossError`."""
    rng = np.random.default_rng(seed)
    tally: Counter[str] = Counter()
    for number in range(kills):
        # In every other round the recorder watches the room that is left; in the others it runs into the wall.
        reserve_mb = number % 2 if disk else 0
        longest_s = LONGEST_LIFE_ON_A_FULL_DISK_S if disk else LONGEST_LIFE_S
        room_bytes = int(rng.integers(*ROOM_BYTES))
        with disk.filling(room_bytes) if disk else nullcontext(no_limit) as limit:

            def work(tell: Callable[[str], None], seed: int = seed + number, reserve_mb: int = reserve_mb, limit: Callable[[], None] = limit) -> None:
                limit()
                record_for_ever(folder, seed, tell, reserve_mb)

            lines = killed(float(rng.uniform(0.0, longest_s)), work, spare_orphans=number % 3 == 0)
            if disk:
                # As long as there is no room, a recovery may fail; it must cost nothing.
                recover(folder)
        if number % RECOVERY_KILLED_EVERY == 0:
            killed(float(rng.uniform(0.0, 0.05)), lambda tell: tell(str(recover(folder))))
            tally["kills of a recovery"] += 1
        recover(folder)
        try:
            check(folder, lines, tally)
        except LossError as loss:
            raise LossError(f"round {number}: {loss}; see {folder}") from loss
        for path in folder.iterdir():
            path.unlink()
        tally["kills"] += 1
    return tally


def no_limit() -> None:
    """The process that records may write what it likes."""


class Disk:
    """A small file system, which has room again outside of :meth:`filling`; else a limit on the size of a file."""

    def __init__(self, mount: Path) -> None:
        self.folder, self._filler = mount / "episodes", mount / "filler"
        self.mounted = MOUNTED in os.environ
        if self.mounted:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", mount], check=True)
        self.folder.mkdir()

    @contextmanager
    def filling(self, room_bytes: int) -> Iterator[Callable[[], None]]:
        """A context in which there is so much room; its value limits the process that records."""
        if self.mounted:
            with self._filler.open("wb") as filler:
                os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(self.folder).free - room_bytes)
            yield no_limit
            self._filler.unlink()
        else:
            yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, room_bytes))


def say(line: str) -> None:
    """A line at once: a round takes its time."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(argv: list[str] | None = None) -> int:
    """Kill, recover, compare; 0 where nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="kills with room enough")
    parser.add_argument("--disk-kills", type=int, default=100, help="kills with the disk filling up")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments and the lengths of the episodes")
    words = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(words)
    if MOUNTED not in os.environ and subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0:
        environment = {**os.environ, MOUNTED: "1"}
        return subprocess.run(["unshare", "-rm", sys.executable, __file__, *words], env=environment).returncode
    folder = Path(tempfile.mkdtemp(prefix="cdp_crash_"))
    (folder / "room").mkdir()
    (folder / "full").mkdir()
    disk = Disk(folder / "full")
    how = "a file system of its own" if disk.mounted else "a limit on the size of a file: no name space of our own is granted here"
    say(f"seed {args.seed}; the disk that fills is {how}")
    for name, kills, where, limit in (("room enough", args.kills, folder / "room", None), ("disk filling up", args.disk_kills, disk.folder, disk)):
        try:
            tally = rounds(kills, args.seed, where, limit)
        except LossError as loss:
            say(f"{name}: {loss}")
            return 1
        figures = ", ".join(f"{value} {key}" for key, value in sorted(tally.items()))
        say(f"{name}: {tally['kills']} kills, 0 finished episodes lost, 0 unreadable files; {figures}")
    if disk.mounted:
        subprocess.run(["umount", folder / "full"], check=True)
    shutil.rmtree(folder)
    say(f"{args.kills + args.disk_kills} kills: nothing was lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
