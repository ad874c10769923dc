"""Starts, feeds and ends episodes. Plain data in, no ROS: the node around it only translates messages."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from cdp.config import to_mapping
from cdp.data.durable import unfinished
from cdp.data.episode import EpisodeError, EpisodeInfo, EpisodeLabels
from cdp.data.episode_writer import EpisodeWriter
from cdp.data.streams import STREAMS
from cdp_teleop_recorder.recorder_parameters import RecorderParameters
from cdp_teleop_recorder.recorder_streams import NS_PER_S, StreamMonitor

# An interrupted episode shorter than this holds nothing worth keeping.
_SHORTEST_INTERRUPTED_S = 1.0
_BYTES_PER_MB = 1_000_000


class State(IntEnum):
    """States of cdp_msgs/RecorderStatus."""

    IDLE = 0
    RECORDING = 1
    WRITING = 2
    FAULT = 3


@dataclass(frozen=True)
class Outcome:
    """Answer to a request: ``path`` and ``frames`` of a finished episode, ``episode`` of one that was started."""

    success: bool
    message: str
    episode: str = ""
    path: str = ""
    frames: int = 0


@dataclass(frozen=True)
class Snapshot:
    """The recorder at one moment."""

    state: State
    message: str
    episodes: int
    episode: str
    duration_s: float
    streams: tuple[str, ...]
    received: tuple[int, ...]
    dropped: tuple[int, ...]


class RecorderSession:
    """At most one episode at a time, fed from one thread. ``clock`` is ``system`` or ``sim``; every time is an int of its nanoseconds."""

    def __init__(self, parameters: RecorderParameters, clock: str) -> None:
        self._parameters, self._clock = parameters, clock
        self._folder = Path(parameters.directory)
        rates = parameters.rates_hz()
        self._monitors = {name: StreamMonitor(rates.get(name)) for name in STREAMS}
        self._writer: EpisodeWriter | None = None
        self._newest_receive_ns = 0
        self._episodes = 0
        self._episode = ""
        self._writing = False
        self._message = "idle"

    def leftovers(self) -> list[Path]:
        """Unfinished files of recorders that were killed."""
        return unfinished(self._folder)

    def refuse(self, stream: str, reason: str) -> None:
        """A message of ``stream`` cannot be recorded, for this reason."""
        self._monitors[stream].refuse(reason)

    def add(self, stream: str, stamp_ns: int, receive_ns: int, values: Mapping[str, Any]) -> None:
        """A sample has arrived; it is stored while an episode is in progress."""
        self._monitors[stream].see(stamp_ns, counting=self._writer is not None)
        self._newest_receive_ns = receive_ns
        if self._writer is not None:
            self._writer.append(stream, stamp_ns, receive_ns, values)

    def start(self, task: str, operator: str, seed: int, now_ns: int) -> Outcome:
        """Start an episode; refused, with the reason, while one is in progress, a required stream is silent, or the folder cannot take it."""
        if self._writer is not None:
            return Outcome(False, f"{self._writer.path.name} is being recorded; stop it first")
        silent = [self._monitors[name].silence(name, now_ns, self._parameters.silent_after_s) for name in self._parameters.required_streams]
        if reasons := [reason for reason in silent if reason]:
            return Outcome(False, f"not started: {'; '.join(reasons)}; nothing is recorded")
        try:
            writer = self._open(EpisodeInfo(task, operator, seed, now_ns, self._clock, to_mapping(self._parameters)))
        except EpisodeError as error:
            return Outcome(False, str(error))
        for monitor in self._monitors.values():
            monitor.restart()
        self._writer, self._episode = writer, writer.path.stem
        self._newest_receive_ns = now_ns
        self._message = f"recording {self._episode}"
        return Outcome(True, self._message, episode=self._episode)

    def stop(self, keep: bool, task_success: bool, note: str, now_ns: int) -> Outcome:
        """End the episode: finished with its label, or discarded. The message says what it lacks."""
        writer = self._writer
        if writer is None:
            return Outcome(False, "no episode is being recorded")
        self._writer = None
        if not keep:
            writer.discard()
            self._message = f"discarded {self._episode}"
            return Outcome(True, self._message)
        warnings = self._warnings(writer)
        labels = EpisodeLabels(task_success, note, now_ns, {name: m.dropped for name, m in self._monitors.items()}, tuple(warnings))
        try:
            path = writer.finish(labels)
        except EpisodeError as error:
            self._message = str(error)
            return Outcome(False, self._message)
        self._episodes += 1
        self._message = "; ".join([f"kept {path.name}", *warnings])
        return Outcome(True, self._message, path=str(path), frames=writer.received["agentview_image"])

    def interrupt(self) -> Outcome | None:
        """End an episode because the recorder has to stop: kept as a failure with the note ``interrupted``, or discarded where it has just begun."""
        if self._writer is None:
            return None
        long_enough = self._newest_receive_ns - self._writer.info.started_ns > _SHORTEST_INTERRUPTED_S * NS_PER_S
        return self.stop(long_enough, False, "interrupted", self._newest_receive_ns)

    def mark_writing(self) -> None:
        """The next snapshot says that an episode is being brought to the disk."""
        self._writing = self._writer is not None

    def snapshot(self, now_ns: int) -> Snapshot:
        """The state to publish."""
        writer, duration_s = self._writer, 0.0
        state, message = State.IDLE, self._message
        lost: Mapping[str, int] = {}
        if writer is not None:
            state, lost = State.RECORDING, writer.lost
            duration_s = max(0.0, (now_ns - writer.info.started_ns) / NS_PER_S)
            if self._writing:
                state, message = State.WRITING, f"writing {self._episode}"
            if writer.error is not None:
                state, message = State.FAULT, f"{self._episode} cannot be written: {writer.error}; stop it and make room"
        self._writing = False
        monitors = self._monitors
        dropped = tuple(m.dropped + lost.get(name, 0) for name, m in monitors.items())
        return Snapshot(
            state, message, self._episodes, self._episode, duration_s, tuple(monitors), tuple(m.received for m in monitors.values()), dropped
        )

    def _open(self, info: EpisodeInfo) -> EpisodeWriter:
        writer = EpisodeWriter(self._folder, info, jpeg_quality=self._parameters.jpeg_quality, image_queue_size=self._parameters.image_queue)
        free_mb = shutil.disk_usage(self._folder).free // _BYTES_PER_MB
        if free_mb < self._parameters.min_free_mb:
            writer.discard()
            raise EpisodeError(f"not started: {self._folder} has {free_mb} MB free, less than {self._parameters.min_free_mb} MB; make room")
        return writer

    def _warnings(self, writer: EpisodeWriter) -> list[str]:
        lost, received = writer.lost, writer.received
        warnings = [] if received["action"] else ["there is no action in it, so it gives no demonstration"]
        for name, monitor in self._monitors.items():
            if dropped := monitor.dropped + lost[name]:
                warnings.append(f"{dropped} of {name} were dropped")
            if slow := monitor.slow(name, self._parameters.min_rate_fraction):
                warnings.append(slow)
        return warnings
