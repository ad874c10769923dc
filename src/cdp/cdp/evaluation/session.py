"""One rollout after another: load, place, confirm, record, run, label, write down. The robot and the person are behind two protocols.

Nothing moves before the person has confirmed, and each rollout is on the disk before the next begins.
"""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime, timezone

from cdp.evaluation.parts import (
    ENGAGE,
    GO,
    NO,
    NOT_THE_POLICYS,
    OVERLAY,
    QUIT,
    REDO,
    SUCCESS,
    TAKEN_OVER,
    YES,
    Person,
    Prompt,
    Recording,
    Robot,
    Run,
    Starts,
)
from cdp.evaluation.plan import Rollout
from cdp.evaluation.results import Evaluation, EvaluationError, RolloutResult, known
from cdp.statistics import percentiles

_MOST_REDONE = 20


class QuitError(Exception):
    """The person wants to end here; what was finished is kept."""


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
