"""What a session of rollouts works with: the robot, the person and the starts behind protocols, and what passes between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cdp.evaluation.plan import Candidate, Rollout

GO, ENGAGE, OVERLAY, QUIT = "go", "engage", "overlay", "quit"
YES, NO, REDO = "y", "n", "redo"
SUCCESS, TAKEN_OVER = "success", "operator_took_over"
# How a run ended that says nothing about the policy: its equipment failed.
NOT_THE_POLICYS = ("observation_lost", "deactivated")


@dataclass
class Run:
    """How a run of a policy ended; ``reason`` is a name of ``RunPolicy.Result.REASON_*`` in small letters. Lists hold a number per feedback."""

    reason: str
    message: str
    duration_s: float
    chunks: int = 0
    late_chunks: int = 0
    interventions: int = 0
    guard_holds: int = 0
    latency_ms: list[float] = field(default_factory=list)
    monitor: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """The recorded episode of a rollout: its file and the recorder's verdict."""

    path: str
    verdict: str


@dataclass(frozen=True)
class Prompt:
    """What the person is told before a rollout. ``policy`` is empty in a blind evaluation."""

    rollout: Rollout
    position: int
    total: int
    policy: str
    text: str
    picture: str
    misplaced: str


class Robot(Protocol):
    """The arm with its nodes. Every call raises EvaluationError where a node does not answer or refuses."""

    def prepare(self, candidate: Candidate) -> None:
        """Let the guard send nothing, and load the policy."""

    def place(self, seed: int) -> None:
        """Put arm and objects at the start where the robot can do that by itself, as in simulation; else nothing."""

    def misplaced(self, seed: int) -> str:
        """How far the hand is from its start, in words; empty where that is not known."""

    def engage(self) -> None:
        """Engage the guard at the measured pose; the arm holds still."""

    def start_recording(self, seed: int) -> None:
        """Start an episode."""

    def run(self, seed: int, key: Callable[[], str]) -> Run:
        """Run the policy to its end. ``key`` gives what the person pressed since the last call: ``success``, ``abort`` or nothing."""

    def disengage(self) -> None:
        """Let the guard send nothing; the arm holds its last target."""

    def stop_recording(self, success: bool, note: str) -> Recording:
        """Keep the episode with its label."""

    def label(self, success: bool) -> None:
        """Change the label of the episode just kept."""

    def discard(self) -> None:
        """Set aside the episode just kept."""

    def abandon(self) -> None:
        """After a failure, as far as it goes: disengage, and keep what is being recorded without a label. Never raises."""


class Starts(Protocol):
    """Where things are when a rollout begins."""

    def describe(self, rollout: Rollout) -> tuple[str, str]:
        """What to put where, and the path of a picture of it (empty where there is none)."""

    def overlay(self, rollout: Rollout) -> str:
        """Lay the camera's view over the picture of the start; what came of it, in words."""

    def placed(self, rollout: Rollout) -> None:
        """The person has confirmed the placement: the camera's view is the picture for the policies that follow from this start."""


class Person(Protocol):
    """Who watches the arm, or a stand-in."""

    @property
    def judge(self) -> str:
        """Who says whether a rollout was a success."""

    def confirm(self, prompt: Prompt) -> str:
        """One of go, engage, overlay, quit."""

    def tell(self, text: str) -> None:
        """Say something."""

    def watching(self) -> Callable[[], str]:
        """Begin to watch a run; gives the function of :meth:`Robot.run`."""

    def watched(self) -> None:
        """The run is over."""

    def label(self, run: Run, suggestion: str) -> str:
        """y, n, redo or quit."""
