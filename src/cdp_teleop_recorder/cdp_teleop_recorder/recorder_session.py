"""Starts, feeds and ends episodes. Plain data in, no ROS: the node around it only translates messages."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cdp.config import to_mapping
from cdp.data.durable import unfinished
from cdp.data.episode import EpisodeError, EpisodeInfo, EpisodeLabels
from cdp.data.episode_writer import EpisodeWriter
from cdp.data.mcap_recover import mcap_parts, recover_mcaps
from cdp.data.mcap_writer import McapTopic, McapWriter
from cdp.data.recover import Recovered, recover
from cdp.data.streams import IMAGE_STREAM, STREAM_SPECS, StreamSpec
from cdp_teleop_recorder.recorder_finisher import MOST_WAITING, Made
from cdp_teleop_recorder.recorder_kept import KeptEpisodes
from cdp_teleop_recorder.recorder_mcap import McapTrack
from cdp_teleop_recorder.recorder_parameters import RecorderParameters
from cdp_teleop_recorder.recorder_preroll import PreRoll
from cdp_teleop_recorder.recorder_streams import NS_PER_S
from cdp_teleop_recorder.recorder_types import Outcome, Snapshot, idle_state, recording_state
from cdp_teleop_recorder.recorder_watch import Watch

# An interrupted episode shorter than this holds nothing worth keeping.
_SHORTEST_INTERRUPTED_S = 1.0
_BYTES_PER_MB = 1_000_000
_UNKNOWN_SEED = -1


class RecorderSession:
    """At most one episode at a time, fed from one thread and asked from another. Times are ints of nanoseconds; ``clock``: ``system`` or ``sim``.

    ``specs`` is asked at each start for what the streams are; their names stay the same. ``raw`` are the topics whose messages :meth:`add_raw`
    brings; it may fill until the first start. An episode that has ended is safe; its file is made in the background.
    """

    def __init__(
        self,
        parameters: RecorderParameters,
        clock: str,
        specs: Callable[[], Mapping[str, StreamSpec]] | None = None,
        raw: Mapping[str, McapTopic] | None = None,
    ) -> None:
        self._parameters, self._clock = parameters, clock
        self._specs = specs or (lambda: STREAM_SPECS)
        self._folder = Path(parameters.directory)
        rates = parameters.rates_hz()
        self._watch = Watch(parameters, {name: spec.rate_hz or rates.get(name) for name, spec in self._specs().items()})
        self._preroll = PreRoll(round(parameters.preroll_s * NS_PER_S), parameters.preroll_mb)
        self._mcap = McapTrack(parameters, {} if raw is None else raw)
        self.kept = KeptEpisodes(self._on_made)
        self._writer: EpisodeWriter | None = None
        self._newest_receive_ns = 0
        self._episode, self._task, self._operator, self._seed = "", parameters.task, parameters.operator_name, _UNKNOWN_SEED
        self._label: bool | None = None
        self._warnings: tuple[str, ...] = ()
        self._writing = self._fault = False
        self._message = "idle"
        #: How the last episode ended.
        self.last = Outcome(False, "no episode was recorded")
        # Held while a sample is taken in, and while an episode begins or ends: no sample is half in it.
        self._lock = threading.Lock()

    @property
    def recording(self) -> bool:
        """Whether an episode is in progress."""
        return self._writer is not None

    def recover(self) -> list[Recovered]:
        """Finish what recorders that were killed left behind."""
        return [*recover(self._folder), *recover_mcaps(self._folder)]

    def leftovers(self) -> list[Path]:
        """Half files, of recorders of earlier versions that were killed, and of collections."""
        return sorted({*unfinished(self._folder)} - {*mcap_parts(self._folder)})

    def refuse(self, stream: str, reason: str) -> None:
        """A message of ``stream`` cannot be recorded, for this reason."""
        self._watch.monitors[stream].refuse(reason)

    def add(self, stream: str, stamp_ns: int, receive_ns: int, values: Mapping[str, Any]) -> None:
        """A sample has arrived; it is stored while an episode is in progress."""
        with self._lock:
            self._watch.see(stream, stamp_ns, receive_ns, values, counting=self._writer is not None)
            self._newest_receive_ns = receive_ns
            if self._writer is not None:
                self._writer.append(stream, stamp_ns, receive_ns, values)
            else:
                self._preroll.add((stream, stamp_ns, receive_ns, values))

    def add_raw(self, topic: str, stamp_ns: int, receive_ns: int, data: bytes) -> None:
        """A serialized message has arrived; it is written beside the episode in progress."""
        with self._lock:
            self._mcap.add(topic, stamp_ns, receive_ns, data)

    def start(self, task: str, operator: str, seed: int, now_ns: int) -> Outcome:
        """Start an episode; refused, with the reason, while one is in progress, a required stream is silent, or the folder cannot take it."""
        if self._writer is not None:
            return Outcome(False, f"{self._writer.path.name} is being recorded; stop it first")
        if reasons := self._watch.silent(self._parameters.required_streams, now_ns):
            return Outcome(False, f"not started: {'; '.join(reasons)}; nothing is recorded")
        if self.kept.waiting >= MOST_WAITING:
            return Outcome(False, f"not started: the files of {MOST_WAITING} episodes are still being made; wait for one; nothing is recorded")
        info = EpisodeInfo(task, operator, seed, now_ns, self._clock, to_mapping(self._parameters))
        try:
            writer = self._open(info)
        except EpisodeError as error:
            return Outcome(False, str(error))
        raw = self._mcap.open(writer.path, info)
        with self._lock:
            self._mcap.begin(raw, now_ns)
            self._watch.restart()
            for sample in self._preroll.take(now_ns):
                writer.append(*sample)
            self._writer = writer
        self._episode, self._task, self._operator, self._seed = writer.path.stem, task, operator, seed
        self._newest_receive_ns, self._label, self._warnings, self._fault = now_ns, None, (), False
        self._message = f"recording {self._episode}"
        return Outcome(True, self._message, episode=self._episode)

    def begin(self, now_ns: int) -> Outcome:
        """Start with the task and operator of the episode before, or with the configured ones; the scene is another."""
        return self.start(self._task, self._operator, _UNKNOWN_SEED, now_ns)

    def stop(self, keep: bool, success: bool | None, note: str, now_ns: int) -> Outcome:
        """End the episode: finished with its label, or discarded. The message says what it lacks. ``success`` None: as :meth:`label` said."""
        if self._writer is None:
            return Outcome(False, "no episode is being recorded")
        self.last = self._end(self._writer, keep, success, note, now_ns)
        return self.last

    def _end(self, writer: EpisodeWriter, keep: bool, success: bool | None, note: str, now_ns: int) -> Outcome:
        with self._lock:
            self._writer = None
            raw = self._mcap.end()
        if not keep:
            if raw is not None:
                raw.discard()
            writer.discard()
            self._message = f"discarded {self._episode}"
            return Outcome(True, self._message)
        if success is not None:
            self._label = success
        writer.drain()
        labels = self._labels(writer, raw, note, now_ns)
        warnings = self._warnings = labels.warnings
        frames, path = writer.received.get(IMAGE_STREAM, 0), str(writer.path)
        self.kept.keep(writer, raw, labels)
        if writer.error is not None:
            self._fault = True
            self._message = f"{writer.path.name} was cut off: {writer.error}; what was recorded until then is kept; make room"
            return Outcome(False, self._message, path=path, frames=frames, warnings=(self._message, *warnings))
        self._message = "; ".join([f"kept {writer.path.name}, which is being written", *warnings])
        return Outcome(True, self._message, path=path, frames=frames, warnings=warnings)

    def _on_made(self, made: Made) -> None:
        """In another thread: an episode's file is there, or could not be made."""
        if made.error:
            self._fault, self._message = True, made.error
        elif self._message.startswith(f"kept {made.path.name}"):
            self._message = self._message.replace(", which is being written", "", 1)

    def discard(self, now_ns: int) -> Outcome:
        """Drop the episode in progress; where there is none, set the last one aside."""
        if self._writer is not None:
            return self.stop(False, None, "", now_ns)
        outcome = self.kept.discard_last()
        self._message = outcome.message if outcome.success else self._message
        return outcome

    def redo(self, now_ns: int) -> Outcome:
        """Discard the episode, the one in progress or else the last, and start it anew: same task, operator and seed."""
        dropped = self.discard(now_ns)
        return self.start(self._task, self._operator, self._seed, now_ns) if dropped.success else dropped

    def toggle(self, now_ns: int) -> Outcome:
        """Start an episode, or keep the one in progress: for a device with one button."""
        return self.begin(now_ns) if self._writer is None else self.stop(True, None, "", now_ns)

    def label(self, success: bool) -> Outcome:
        """Say whether the episode, the one in progress or else the last, succeeded."""
        word = "a success" if success else "a failure"
        if self._writer is None and (refused := self.kept.label_last(success)) is not None:
            return refused
        self._label = success
        return Outcome(True, f"{self._episode} is {word}", path=str(self.kept.path or ""))

    def interrupt(self) -> Outcome | None:
        """End an episode because the recorder has to stop: kept as a failure with the note ``interrupted``, or discarded where it has just begun."""
        if self._writer is None:
            return None
        long_enough = self._newest_receive_ns - self._writer.info.started_ns > _SHORTEST_INTERRUPTED_S * NS_PER_S
        return self.stop(long_enough, False, "interrupted", self._newest_receive_ns)

    def tick(self, now_ns: int) -> tuple[dict[str, str], Outcome | None]:
        """Look after the episode, twice a second: what is wrong now, by stream and kind, and the outcome where it had to end by itself."""
        writer = self._writer
        if writer is None:
            return {}, None
        free = shutil.disk_usage(self._folder).free
        needed = writer.journal_bytes + self.kept.needed_bytes + self._parameters.reserve_mb * _BYTES_PER_MB
        self._mcap.make_room(free, needed)
        if writer.error is not None or free < needed:
            reason = writer.error or f"only {free // _BYTES_PER_MB} MB are free, and its file needs as much as its journal"
            outcome = self.stop(True, None, f"ended by the recorder: {reason}", now_ns)
            self._fault = True
            self._message = f"{self._episode} was ended: {reason}; {outcome.message}"
            return {}, Outcome(False, self._message, path=outcome.path, frames=outcome.frames, warnings=outcome.warnings)
        warnings = self._watch.warnings_now(writer, now_ns) | self._mcap.warnings_now()
        self._warnings = tuple(warnings.values())
        writer.note(self._labels(writer, self._mcap.writer, "", 0))
        return warnings, None

    def mark_writing(self) -> None:
        """The next snapshot says that an episode is being brought to the disk."""
        self._writing = self._writer is not None

    def snapshot(self, now_ns: int) -> Snapshot:
        """The state to publish."""
        writing, self._writing = self._writing, False
        writer = self._writer
        if writer is None:
            state, message = idle_state(self._fault, self.kept.waiting), self._message
        else:
            state, message = recording_state(writer.error, writing, self._episode, self._message)
        return Snapshot(
            state=state,
            message=message,
            episodes=self.kept.count,
            episode=self._episode,
            duration_s=0.0 if writer is None else max(0.0, (now_ns - writer.info.started_ns) / NS_PER_S),
            **self._watch.snapshot({} if writer is None else writer.lost),
            warnings=self._warnings,
            task=self._task,
            operator=self._operator,
            label=self._label,
            path=str(self.kept.path or ""),
            idle_s=self._watch.idle_s() if writer is not None else 0.0,
            queue_fraction=writer.queue_fraction if writer is not None else 0.0,
            writing=self.kept.waiting,
        )

    def _open(self, info: EpisodeInfo) -> EpisodeWriter:
        p = self._parameters
        writer = EpisodeWriter(
            self._folder,
            info,
            streams=self._specs(),
            jpeg_quality=p.jpeg_quality,
            image_queue_size=p.image_queue,
            flush_period_s=p.flush_period_s,
        )
        free_mb = (shutil.disk_usage(self._folder).free - self.kept.needed_bytes) // _BYTES_PER_MB
        if free_mb < p.min_free_mb:
            writer.discard()
            raise EpisodeError(f"not started: {self._folder} has {free_mb} MB free, less than {p.min_free_mb} MB; make room")
        return writer

    def _labels(self, writer: EpisodeWriter, raw: McapWriter | None, note: str, now_ns: int) -> EpisodeLabels:
        """What is known of the episode now."""
        warnings = [*self._watch.warnings(writer), *self._mcap.warnings(raw)]
        return EpisodeLabels(
            success=bool(self._label),
            note=note,
            ended_ns=now_ns,
            dropped=self._watch.dropped(),
            warnings=tuple(warnings),
            labelled=self._label is not None,
            verdict=self._watch.verdict(writer, warnings) | self._mcap.verdict(raw),
            idle_ns=self._watch.idle_ns(),
        )
