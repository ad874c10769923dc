"""One rollout after another: load, place, confirm, record, run, label, write down. The robot and the person are behind two protocols.

Nothing moves before the person has confirmed, and each rollout is on the disk before the next begins.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Protocol

from cdp.evaluation.plan import Candidate, Rollout
from cdp.evaluation.results import Evaluation, EvaluationError, RolloutResult, known
from cdp.statistics import percentiles

GO, ENGAGE, OVERLAY, QUIT = "go", "engage", "overlay", "quit"
YES, NO, REDO = "y", "n", "redo"
SUCCESS, TAKEN_OVER = "success", "operator_took_over"
# How a run ended that says nothing about the policy: its equipment failed.
NOT_THE_POLICYS = ("observation_lost", "deactivated")
_MOST_REDONE = 20


class QuitError(Exception):
    """The person wants to end here; what was finished is kept."""


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


class Session:
    """Works through the pending rollouts of an evaluation."""

    def __init__(self, evaluation: Evaluation, robot: Robot, person: Person, starts: Starts, *, blind: bool = False) -> None:
        self._evaluation, self._robot, self._person, self._starts, self._blind = evaluation, robot, person, starts, blind

    def run(self) -> bool:
        """True when nothing is left to do, False when the person quit. Raises EvaluationError where the robot fails."""
        try:
            for rollout in self._evaluation.pending:
                self._evaluation.add(self._rollout(rollout))
                self._person.tell(f"{len(self._evaluation.results)} of {len(self._evaluation.plan)} rollouts are done and written")
        except QuitError:
            return False
        return True

    def _rollout(self, rollout: Rollout) -> RolloutResult:
        for redone in range(_MOST_REDONE):
            result = self._attempt(rollout)
            if result is not None:
                return dataclasses.replace(result, redone=redone)
        raise EvaluationError(
            f"rollout {rollout.index} was begun {_MOST_REDONE} times without a result: see what ended it; those before it are kept, go on by --resume"
        )

    def _attempt(self, rollout: Rollout) -> RolloutResult | None:
        """One try; None where it is to be made again."""
        candidate = self._evaluation.candidate(rollout.policy)
        self._robot.prepare(candidate)
        self._robot.place(rollout.seed)
        try:
            self._confirm(rollout)
            self._starts.placed(rollout)
            self._robot.start_recording(rollout.seed)
            run = self._watched_run(rollout)
            if run.reason != TAKEN_OVER:
                # Who took over is driving the arm out of something: that is theirs to end.
                self._robot.disengage()
            note = f"evaluation rollout {rollout.index}, start {rollout.start}, bundle {candidate.name} {candidate.sha256}, ended by {run.reason}"
            recording = self._robot.stop_recording(run.reason == SUCCESS, note)
        except QuitError:
            self._robot.disengage()
            raise
        except BaseException:
            # Ctrl-C too: the arm is held first, then the caller learns of it.
            self._robot.abandon()
            raise
        return self._labelled(rollout, run, recording)

    def _confirm(self, rollout: Rollout) -> None:
        text, picture = self._starts.describe(rollout)
        position = len(self._evaluation.results) + 1
        while True:
            misplaced = self._robot.misplaced(rollout.seed)
            shown = "" if self._blind else rollout.policy
            answer = self._person.confirm(Prompt(rollout, position, len(self._evaluation.plan), shown, text, picture, misplaced))
            if answer == GO:
                return
            if answer == QUIT:
                raise QuitError
            if answer == ENGAGE:
                self._robot.engage()
                self._person.tell("the guard is engaged: drive the arm to its start, then confirm")
            elif answer == OVERLAY:
                self._person.tell(self._starts.overlay(rollout))

    def _watched_run(self, rollout: Rollout) -> Run:
        self._robot.engage()
        key = self._person.watching()
        try:
            return self._robot.run(rollout.seed, key)
        finally:
            self._person.watched()

    def _labelled(self, rollout: Rollout, run: Run, recording: Recording) -> RolloutResult | None:
        suggestion = REDO if run.reason in NOT_THE_POLICYS else YES if run.reason == SUCCESS else NO
        try:
            answer = self._person.label(run, suggestion)
        except BaseException:
            self._robot.discard()
            raise
        if answer in (REDO, QUIT):
            self._robot.discard()
            if answer == QUIT:
                raise QuitError
            return None
        success = answer == YES
        if success != (run.reason == SUCCESS):
            self._robot.label(success)
        p50, largest = percentiles(run.latency_ms, (50, 100))
        spread, lipschitz, ood_share = (_median(run.monitor.get(name, [])) for name in ("spread", "lipschitz", "ood_share"))
        return RolloutResult(
            index=rollout.index,
            policy=rollout.policy,
            start=rollout.start,
            seed=rollout.seed,
            success=success,
            judge=self._person.judge,
            reason=run.reason,
            message=run.message,
            duration_s=run.duration_s,
            interventions=run.interventions,
            guard_holds=run.guard_holds,
            chunks=run.chunks,
            late_chunks=run.late_chunks,
            latency_p50_ms=known(p50),
            latency_max_ms=known(largest),
            spread=spread,
            lipschitz=lipschitz,
            ood_share=ood_share,
            recording=recording.path,
            verdict=recording.verdict,
            ended_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )


def _median(values: list[float]) -> float | None:
    return known(percentiles([value for value in values if not math.isnan(value)], (50,))[0])
