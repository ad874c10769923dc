"""What goes into a session and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cdp.geometry import FloatArray
from cdp.runtime.policy import ActionPrediction


class State(Enum):
    """What a session is doing."""

    STOPPED = "stopped"
    WAITING = "waiting"
    RUNNING = "running"
    FAULT = "fault"


class Level(Enum):
    """How bad an event is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Event:
    """Something that a person should read, said once."""

    level: Level
    text: str


@dataclass(frozen=True)
class Chunk:
    """Actions of a prediction in time, without the rows that were past when it came."""

    start_ns: int
    """The time that the first row is for."""
    rows: FloatArray
    """(T >= 1, 10), one policy period apart."""
    prediction: ActionPrediction
    delay_ns: int
    """From the observation's stamp to its coming, by the session's clock."""


@dataclass(frozen=True)
class Answer:
    """The answer to one image: a chunk, or None to go on with the last."""

    observation_stamp_ns: int
    chunk: Chunk | None

    @property
    def prediction(self) -> ActionPrediction | None:
        """What the chunk was made of."""
        return None if self.chunk is None else self.chunk.prediction


@dataclass
class Schedule:
    """How planning kept up since the start of the episode."""

    chunks: int = 0
    late: int = 0
    """Chunks that took longer than the replanning period."""
    expired: int = 0
    """Chunks that were not sent, since all of their rows were past."""
    replaced: int = 0
    """Windows that were never planned from: a newer one came while the planner was busy."""

    @property
    def deadline_misses(self) -> int:
        """Late and expired chunks."""
        return self.late + self.expired


@dataclass(frozen=True)
class Source:
    """Where a stream comes from, and the age from which it counts as dead."""

    topic: str
    timeout_s: float
