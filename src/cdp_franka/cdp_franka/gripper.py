"""Streamed width targets become the few, separate goals that Franka's hand can do.

The hand takes one goal after another, each some tenths of a second long, and its server does not queue them: what arrives during a goal is run at the
same time, and one of the two fails. So at most one goal is under way here. A new one is sent when the target lies outside a dead band around the last
goal and has come to rest; the newest target wins; a goal is cancelled only where the target has turned back. A target whose goal failed, or that was
stopped, is not tried again: a new one is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from cdp.config import setting

_NS_PER_S = 1_000_000_000
# A target that never rests is followed all the same, after this many settling times.
_PATIENCE = 5


@dataclass(frozen=True)
class GripperConfig:
    """Settings of :class:`GripperCore`."""

    max_width_m: float = setting(0.079, low=0.01, high=0.2, help="widest opening asked for; a hand homed to less than 0.08 refuses 0.08 [m]")
    deadband_m: float = setting(0.004, low=0.0005, high=0.05, help="a target this near to the last goal's is the same [m]")
    settle_s: float = setting(0.1, low=0.0, high=1.0, help="time for which a target has to rest before it becomes a goal [s]")
    speed_m_s: float = setting(0.1, low=0.005, high=0.2, help="speed of the fingers [m/s]")
    max_force_n: float = setting(70.0, low=1.0, high=140.0, help="greatest force of a grasp [N]")
    grasp_below_m: float = setting(0.08, low=0.0, high=0.2, help="closing to less than this is a grasp, else a move [m]")
    epsilon_inner_m: float = setting(0.08, low=0.0, high=0.2, help="a grasp succeeds up to this much narrower than its target [m]")
    epsilon_outer_m: float = setting(0.08, low=0.0, high=0.2, help="a grasp succeeds up to this much wider than its target [m]")
    goal_timeout_s: float = setting(15.0, low=1.0, high=120.0, help="a goal that takes longer is cancelled [s]")


class Kind(Enum):
    """A goal's action."""

    HOME = "homing"
    MOVE = "move"
    GRASP = "grasp"


@dataclass(frozen=True)
class Goal:
    """One goal: widths are between the fingers [m], all of it, not half; the force [N] counts for a grasp."""

    kind: Kind
    width_m: float = 0.0
    force_n: float = 0.0

    def __str__(self) -> str:
        return self.kind.value if self.kind is Kind.HOME else f"{self.kind.value} to {self.width_m:.3f} m"


class Cancel(Enum):
    """Cancel the goal under way, and why."""

    TURNED_BACK = "the target has turned back"
    TOO_LONG = "it takes too long"


@dataclass
class _Running:
    goal: Goal
    since_ns: int
    opening: bool
    cancelled: bool = False
    stopped: bool = False


class GripperCore:
    """See the module. Time comes in as nanoseconds, from any clock that only goes forward."""

    def __init__(self, config: GripperConfig) -> None:
        self._config = config
        self._target: tuple[float, float] | None = None
        self._rested_ns = self._wanted_ns = 0
        self._width_m: float | None = None
        self._goal_width_m: float | None = None
        self._given_up_m: float | None = None
        self._home = False
        self._running: _Running | None = None

    @property
    def running(self) -> Goal | None:
        """The goal under way."""
        return None if self._running is None else self._running.goal

    def on_target(self, width_m: float, force_n: float, now_ns: int) -> str | None:
        """The newest target: opening [m] and force [N]. Returns why it is refused; the one before is kept then."""
        if not (math.isfinite(width_m) and math.isfinite(force_n) and width_m >= -self._config.deadband_m and force_n > 0.0):
            return f"width {width_m} m with force {force_n} N is no target; the one before is kept"
        width_m = min(max(width_m, 0.0), self._config.max_width_m)
        if self._target is None or self._apart(width_m, self._target[0]):
            self._rested_ns = now_ns
            if not self._wanted():
                self._wanted_ns = now_ns
            self._target = width_m, min(force_n, self._config.max_force_n)
        return None

    def on_width(self, width_m: float) -> None:
        """Measured opening [m]."""
        if math.isfinite(width_m):
            self._width_m = width_m

    def home(self) -> None:
        """Home once, after the goal under way."""
        self._home = True

    def stop(self) -> None:
        """Forget what is wanted; the goal under way is about to be stopped by the hand."""
        self._home = False
        self._given_up_m = None if self._target is None else self._target[0]
        self._goal_width_m = None
        if self._running is not None:
            self._running.stopped = True

    def step(self, now_ns: int) -> Goal | Cancel | None:
        """What to ask of the hand now. A goal that is returned counts as under way until :meth:`done`."""
        if self._running is not None:
            return self._watch(self._running, now_ns)
        if self._home:
            self._home, self._goal_width_m, self._given_up_m = False, None, None
            return self._begin(Goal(Kind.HOME), True, now_ns)
        if not self._wanted() or self._target is None or self._width_m is None:
            return None
        settle_ns = self._config.settle_s * _NS_PER_S
        if now_ns - self._rested_ns < settle_ns and now_ns - self._wanted_ns < _PATIENCE * settle_ns:
            return None
        width_m, force_n = self._target
        self._goal_width_m, self._given_up_m = width_m, None
        opening = width_m >= self._width_m
        kind = Kind.MOVE if opening or width_m >= self._config.grasp_below_m else Kind.GRASP
        return self._begin(Goal(kind, width_m, force_n), opening, now_ns)

    def done(self, success: bool, error: str = "") -> str | None:
        """The goal under way has ended. Returns what to tell a person, where it failed by itself."""
        ended, self._running = self._running, None
        if ended is not None and ended.cancelled:
            self._stopped_on_the_way()
        if ended is None or success or ended.cancelled or ended.stopped:
            return None
        if ended.goal.kind is not Kind.HOME:
            self._given_up_m = ended.goal.width_m
        return (
            f"{ended.goal} failed{': ' + error if error else ''}; the fingers stay where they are and this target is not tried again, a new one is; "
            "look at the hand, and home it by /cdp/gripper/home if it lost its place"
        )

    def lost(self) -> None:
        """The hand is gone, and the goal under way with it: the target is a goal again when the hand is back, unless it was given up."""
        ended, self._running, self._width_m = self._running, None, None
        if ended is not None and not ended.stopped:
            self._stopped_on_the_way()

    def _stopped_on_the_way(self) -> None:
        # The fingers hold nothing: any width is a goal again, the one where they are too, since a grasp has a force.
        self._goal_width_m = math.inf

    def _begin(self, goal: Goal, opening: bool, now_ns: int) -> Goal:
        self._running = _Running(goal, now_ns, opening)
        return goal

    def _watch(self, running: _Running, now_ns: int) -> Cancel | None:
        if running.cancelled:
            return None
        if now_ns - running.since_ns > self._config.goal_timeout_s * _NS_PER_S:
            running.cancelled = True
            self._given_up_m = self._goal_width_m
            return Cancel.TOO_LONG
        if running.goal.kind is Kind.HOME or not self._wanted() or self._target is None or self._width_m is None:
            return None
        # Beyond the fingers on the other side: the rest of the goal leads away from the target.
        back = (self._target[0] - self._width_m) * (-1.0 if running.opening else 1.0)
        if back <= self._config.deadband_m:
            return None
        running.cancelled = True
        return Cancel.TURNED_BACK

    def _wanted(self) -> bool:
        """Whether the target differs from the last goal's, and from the one that was given up."""
        if self._target is None:
            return False
        width_m = self._target[0]
        if self._goal_width_m is None and self._width_m is not None and not self._apart(width_m, self._width_m):
            return False
        return all(known is None or self._apart(width_m, known) for known in (self._goal_width_m, self._given_up_m))

    def _apart(self, a_m: float, b_m: float) -> bool:
        return abs(a_m - b_m) > self._config.deadband_m
