"""What the recorder answers and tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """States of cdp_msgs/RecorderStatus."""

    IDLE = 0
    RECORDING = 1
    WRITING = 2
    FAULT = 3


def idle_state(fault: bool, waiting: int) -> State:
    """While nothing is recorded, with so many files yet to be made."""
    return State.FAULT if fault else State.WRITING if waiting else State.IDLE


def recording_state(error: str | None, ending: bool, episode: str, message: str) -> tuple[State, str]:
    """While ``episode`` is recorded, and what is said of it: ``error`` is why nothing is stored any more, ``ending`` that it is just being ended."""
    if error is not None:
        return State.FAULT, f"{episode} cannot be written: {error}"
    return (State.WRITING, f"writing {episode}") if ending else (State.RECORDING, message)


@dataclass(frozen=True)
class Outcome:
    """Answer to a request: ``path``, ``frames`` and ``warnings`` of a finished episode, ``episode`` of one that was started."""

    success: bool
    message: str
    episode: str = ""
    path: str = ""
    frames: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``good`` or ``suspect``; empty where no episode was kept."""
        return "" if not self.path else "suspect" if self.warnings else "good"


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
    rate_hz: tuple[float, ...]
    lag_s: tuple[float, ...]
    warnings: tuple[str, ...]
    task: str
    operator: str
    label: bool | None
    path: str
    idle_s: float
    queue_fraction: float
    writing: int
