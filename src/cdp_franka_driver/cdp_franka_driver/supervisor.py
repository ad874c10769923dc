"""Brings the arm under control and keeps it there: connect, wait until the robot is ready, control, and what follows when one of these ends.

A reflex is final until somebody asks for the recovery; whatever else ends is tried again by itself, or, with ``ask``, when somebody asks for that.
Taking control always begins by holding the arm where it is measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from cdp.geometry import FloatArray
from cdp_franka_driver.arm import Arm, ArmState, Mode
from cdp_franka_driver.problems import Kind, Problem, of_exception, of_state

_RETRY_S = 1.0
# A robot whose connection is gone is looked for anew; any other problem leaves the connection as it is.
_GONE = {Kind.CONNECTION, Kind.UNREACHABLE, Kind.FCI_OFF}
# What a person has to end at the robot: a word that is given before that is none for the time after it.
_HELD = {Kind.USER_STOP, Kind.LOCKED, Kind.WRONG_MODE}


class Phase(Enum):
    """What the driver is doing."""

    CONNECTING = "connecting"
    WAITING = "waiting"
    CONTROLLING = "controlling"


@dataclass(frozen=True, eq=False)
class Report:
    """What a step came to. ``state`` is None where the robot said nothing new."""

    phase: Phase
    problem: Problem | None
    state: ArmState | None


@dataclass(frozen=True)
class Recovery:
    """Answer to a request for recovery."""

    success: bool
    message: str


class Supervisor:
    """Steps whoever calls :meth:`step` again and again; ``make`` connects, and raises what :func:`of_exception` explains.

    ``ask``: control that has ended, or was kept away, is taken only after :meth:`recover`; ``again``: it has ended before this began.
    """

    def __init__(self, make: Callable[[], Arm], ask: bool = False, again: bool = False) -> None:
        self._make, self._ask = make, ask
        self._word_wanted = ask and again
        self._arm: Arm | None = None
        self._phase = Phase.CONNECTING
        self._problem: Problem | None = None
        # A reflex that nobody has answered yet, and whether the robot's own mode has shown it.
        self._reflex: Problem | None = None
        self._shown = False
        self._retry_at_s = 0.0

    def step(self, now_s: float) -> Report:
        """One look at the robot, at ``now_s`` of any clock that only goes forward."""
        state = None
        try:
            if self._arm is None:
                self._connect(now_s)
            elif self._phase is Phase.CONTROLLING:
                state = self._control(self._arm, now_s)
            else:
                state = self._wait(self._arm, now_s)
        except Exception as error:  # noqa: BLE001 - libfranka's exceptions share no other class
            self._failed(of_exception(error), now_s)
        return Report(self._phase, self._problem, state)

    def follow(self, target: FloatArray) -> None:
        """Hand a target on; one that comes without control is dropped."""
        if self._arm is not None and self._phase is Phase.CONTROLLING:
            self._arm.follow(target)

    def recover(self, now_s: float) -> Recovery:
        """Ask the robot to recover; control begins again in a later step."""
        if self._arm is None:
            return Recovery(False, "the robot is not connected; the driver keeps trying")
        if self._phase is Phase.CONTROLLING:
            return Recovery(True, "nothing to recover from: the arm is under control")
        if self._problem is not None and self._problem.kind is Kind.RESUME:
            self._word_wanted, self._problem, self._retry_at_s = False, None, now_s
            return Recovery(True, "control is taken; engage the guard anew")
        try:
            self._arm.recover()
        except Exception as error:  # noqa: BLE001 - libfranka's exceptions share no other class
            self._failed(of_exception(error), now_s)
            return Recovery(False, str(self._problem))
        self._word_wanted = self._word_wanted and self._problem is not None and self._problem.kind in _HELD
        recovered, self._reflex, self._problem = self._reflex, None, None
        self._retry_at_s = now_s
        return Recovery(True, f"recovered from {recovered.text if recovered else 'what was there'}; engage the guard anew")

    def close(self) -> None:
        """End the motion. The arm is kept: libfranka's destructors may wait for a robot that is gone, or end the process."""
        if self._arm is not None:
            self._arm.close()

    def _connect(self, now_s: float) -> None:
        if now_s < self._retry_at_s:
            return
        self._arm = self._make()
        self._phase, self._problem = Phase.WAITING, None

    def _control(self, arm: Arm, now_s: float) -> ArmState | None:
        if arm.controlling():
            return arm.state()
        self._failed(of_exception(arm.ended() or "the motion was ended by the robot"), now_s)
        if self._arm is not None:
            # A robot that has ended the motion itself may object.
            with contextlib.suppress(Exception):
                arm.stop_control()
            # Its state names the reflex alone, the exception everything since the last one, and at once rather than at the next step.
            return self._wait(arm, now_s)
        return None

    def _wait(self, arm: Arm, now_s: float) -> ArmState | None:
        state = arm.state()
        if state is None:
            return None
        found = of_state(state)
        if found is not None:
            self._problem = found
            if found.kind is Kind.REFLEX:
                self._reflex, self._shown = found, True
            elif self._ask:
                self._word_wanted = True
            return state
        if self._reflex is not None and self._shown and state.mode is Mode.IDLE:
            # Somebody has recovered the robot by other means.
            self._reflex = None
        if self._reflex is None and self._word_wanted:
            self._want_word()
        elif self._reflex is None and now_s >= self._retry_at_s:
            self._retry_at_s = now_s + _RETRY_S
            arm.start_control()
            self._phase, self._problem = Phase.CONTROLLING, None
        return state

    def _want_word(self) -> None:
        before = self._problem
        # A safety function has to be confirmed first, which its own text says.
        if before is None or before.kind not in {Kind.RESUME, Kind.SAFETY}:
            self._problem = Problem(Kind.RESUME, f"control had ended ({before.text if before else 'before this connection'})")

    def _failed(self, problem: Problem, now_s: float) -> None:
        self._problem, self._retry_at_s = problem, now_s + _RETRY_S
        self._word_wanted = self._word_wanted or (
            self._ask and (self._phase is Phase.CONTROLLING or (problem.kind in _GONE and self._arm is not None))
        )
        if problem.kind is Kind.REFLEX and self._phase is Phase.CONTROLLING:
            self._reflex, self._shown = problem, False
        if problem.kind in _GONE or self._arm is None:
            self._arm, self._phase = None, Phase.CONNECTING
        else:
            self._phase = Phase.WAITING
