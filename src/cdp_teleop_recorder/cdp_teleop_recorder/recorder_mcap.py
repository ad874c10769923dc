"""The raw messages of the episodes: a file beside each, which may fail without the episode noticing more than a warning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cdp
from cdp.data.episode import EpisodeInfo
from cdp.data.mcap_writer import McapTopic, McapWriter
from cdp_teleop_recorder.recorder_parameters import RecorderParameters
from cdp_teleop_recorder.recorder_preroll import PreRoll
from cdp_teleop_recorder.recorder_streams import NS_PER_S

_BYTES_PER_MB = 1_000_000


class McapTrack:
    """What goes beside the episode in progress, where ``parameters.mcap`` asks for it: messages of ``topics``, which may fill until the first start.

    The caller sees to it that no message is added while an episode begins or ends.
    """

    def __init__(self, parameters: RecorderParameters, topics: Mapping[str, McapTopic]) -> None:
        self._parameters, self._topics = parameters, topics
        self._preroll = PreRoll(round(parameters.preroll_s * NS_PER_S), parameters.preroll_mb)
        self._writer: McapWriter | None = None
        self._failed = ""
        self._told_lost = 0

    def open(self, episode: Path, info: EpisodeInfo) -> McapWriter | None:
        """The file beside a new episode; None where none is asked for or it cannot be made, which :meth:`warnings` then say."""
        self._failed, self._told_lost = "", 0
        if not self._parameters.mcap:
            return None
        about = {
            "episode": episode.stem,
            "task": info.task,
            "operator": info.operator,
            "seed": str(info.seed),
            "started_ns": str(info.started_ns),
            "clock": info.clock,
            "software_version": cdp.__version__,
        }
        p = self._parameters
        try:
            return McapWriter(episode, self._topics, about, compression=p.mcap_compression, queue_bytes=p.mcap_queue_mb * _BYTES_PER_MB)
        except (OSError, ImportError) as error:
            self._failed = str(error)
            return None

    def begin(self, writer: McapWriter | None, now_ns: int) -> None:
        """What arrives from now on, and the pre-roll, belongs into this file."""
        self._writer = writer
        for topic, stamp_ns, receive_ns, values in self._preroll.take(now_ns):
            if writer is not None:
                writer.append(topic, stamp_ns, receive_ns, values["data"])

    def add(self, topic: str, stamp_ns: int, receive_ns: int, data: bytes) -> None:
        """A message has arrived."""
        if self._writer is not None:
            self._writer.append(topic, stamp_ns, receive_ns, data)
        else:
            self._preroll.add((topic, stamp_ns, receive_ns, {"data": data}))

    def end(self) -> McapWriter | None:
        """The episode has ended: its file, to be finished or discarded. What :meth:`warnings` and :meth:`verdict` say is still of it."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        return writer

    def make_room(self, free_bytes: int, needed_bytes: int) -> None:
        """End the file while the episode, which needs so much of the disk, still has room enough for what waits here."""
        if self._writer is not None and self._writer.error is None and free_bytes < needed_bytes + self._parameters.mcap_queue_mb * _BYTES_PER_MB:
            self._writer.stop(f"only {free_bytes // _BYTES_PER_MB} MB are free, which the episode may need")

    def warnings(self, writer: McapWriter | None) -> list[str]:
        """What the file lacks."""
        if writer is None:
            return [f"there is no MCAP file: {self._failed}"] if self._failed else []
        found = [f"the MCAP file was cut off: {writer.error}"] if writer.error else []
        return [*found, *(f"{lost} of {topic} are not in the MCAP file" for topic, (_, lost) in writer.counts.items() if lost)]

    def warnings_now(self) -> dict[str, str]:
        """What is wrong with the file of the episode in progress, by kind of fault."""
        writer = self._writer
        if writer is None:
            return {"mcap/failed": f"there is no MCAP file: {self._failed}"} if self._failed else {}
        lost, self._told_lost = writer.lost - self._told_lost, writer.lost
        found = {"mcap/failed": f"the MCAP file was cut off: {writer.error}; the episode goes on"} if writer.error else {}
        return found | ({"mcap/lost": f"{lost} messages are not in the MCAP file: its writer cannot keep up"} if lost and not writer.error else {})

    def verdict(self, writer: McapWriter | None) -> dict[str, Any]:
        """The figures for the episode's file; empty where no MCAP was asked for."""
        if not self._parameters.mcap:
            return {}
        counts = {} if writer is None else {topic: {"taken": taken, "lost": lost} for topic, (taken, lost) in writer.counts.items()}
        return {"mcap": {"error": self._failed if writer is None else writer.error, "topics": counts}}

    @property
    def writer(self) -> McapWriter | None:
        """The file of the episode in progress."""
        return self._writer
