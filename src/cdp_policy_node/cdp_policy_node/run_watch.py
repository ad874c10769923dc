"""When a run of the policy is over, and why: decided from what guard, task and policy say, without ROS."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from cdp.data.spec import NS_PER_S


class Reason(IntEnum):
    """Why a run ended; the numbers of ``RunPolicy.Result.REASON_*``."""

    REFUSED = 0
    SUCCESS = 1
    TIMEOUT = 2
    CANCELLED = 3
    OPERATOR_TOOK_OVER = 4
    GUARD_FAULT = 5
    GUARD_DISENGAGED = 6
    POLICY_FAULT = 7
    OBSERVATION_LOST = 8
    DEACTIVATED = 9


class Guard(IntEnum):
    """What the guard does; the numbers of ``GuardStatus.STATE_*``, also of a guard that retreats and recovers, and 255 before its first status."""

    REFUSING = 0
    HOLDING = 1
    OPERATOR = 2
    POLICY = 3
    FAULT = 4
    RETREATING = 5
    RECOVERING = 6
    UNKNOWN = 255


class Policy(IntEnum):
    """What the policy does; the numbers of ``PolicyStatus.STATE_*``."""

    UNCONFIGURED = 0
    READY = 1
    WAITING = 2
    RUNNING = 3
    FAULT = 4


@dataclass(frozen=True)
class End:
    """Why a run is over."""

    reason: Reason
    message: str


class RunWatch:
    """One run. Stamps and ``now_ns`` are of the node's clock, ``steady_ns`` of one that simulated time does not stop.

    ``timeout_s`` 0: no limit. ``lost_s``: how long the policy may wait for an observation [s].
    """

    def __init__(self, now_ns: int, *, timeout_s: float, lost_s: float, end_on_takeover: bool) -> None:
        self.start_ns = now_ns
        self._timeout_s, self._lost_ns, self._end_on_takeover = timeout_s, round(lost_s * NS_PER_S), end_on_takeover
        self._waiting_since_ns: int | None = None
        self._policy_leads = False
        self._end: End | None = None
        self.guard = Guard.UNKNOWN
        self.interventions = 0
        self.guard_holds = 0

    def elapsed_s(self, now_ns: int) -> float:
        """Time since the start [s]; 0 where the clock was set back."""
        return max(now_ns - self.start_ns, 0) / NS_PER_S

    def on_guard(self, stamp_ns: int, state: Guard, message: str, operator: bool = False) -> None:
        """A status of the guard; one from before the start says nothing of this run. ``operator``: an operator is why it holds."""
        if stamp_ns < self.start_ns:
            return
        before, self.guard = self.guard, state
        if state is Guard.FAULT:
            self._over(Reason.GUARD_FAULT, message)
        elif state is Guard.RETREATING or (state is Guard.REFUSING and before not in (Guard.UNKNOWN, Guard.REFUSING)):
            self._over(Reason.GUARD_DISENGAGED, message)
        elif state is Guard.POLICY:
            self._policy_leads = True
        elif state is Guard.HOLDING and before is Guard.POLICY:
            self.guard_holds += not operator
        elif state is Guard.OPERATOR and self._policy_leads:
            self._policy_leads = False
            self.interventions += 1
            if self._end_on_takeover:
                self._over(Reason.OPERATOR_TOOK_OVER, "the operator took over from the policy")

    def on_task(self, stamp_ns: int, success: bool) -> None:
        """The simulator's verdict on the task at ``stamp_ns``."""
        if success and stamp_ns >= self.start_ns:
            self._over(Reason.SUCCESS, "the simulated task is solved")

    def succeed(self) -> None:
        """Somebody who can see it says that the task is done."""
        self._over(Reason.SUCCESS, "success was signalled")

    def check(self, now_ns: int, steady_ns: int, policy: Policy, message: str) -> End | None:
        """The end where the run has come to one; ``message`` is the policy's own."""
        if self._end is not None:
            return self._end
        if policy is Policy.FAULT:
            return End(Reason.POLICY_FAULT, message)
        if policy in (Policy.UNCONFIGURED, Policy.READY):
            return End(Reason.DEACTIVATED, f"the policy was deactivated during the run: {message}")
        self._waiting_since_ns = (self._waiting_since_ns or steady_ns) if policy is Policy.WAITING else None
        if self._waiting_since_ns is not None and steady_ns - self._waiting_since_ns > self._lost_ns:
            return End(Reason.OBSERVATION_LOST, message)
        if 0 < self._timeout_s <= self.elapsed_s(now_ns):
            return End(Reason.TIMEOUT, f"not done within {self._timeout_s:g} s")
        return None

    def _over(self, reason: Reason, message: str) -> None:
        """The first cause counts."""
        self._end = self._end or End(reason, message)
