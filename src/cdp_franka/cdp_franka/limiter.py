"""Motion after a moving reference within bounds on speed, acceleration and jerk, without leaving a range of positions.

Each tick proposes a next state (p, v, a): the start of the time-optimal trajectory (Ruckig, Berscheid and Kroeger, RSS 2021) onto the reference,
whose own motion is taken along, so that a reference within the bounds is met exactly. Ruckig knows neither bounds on the length of a vector nor
ranges of positions; those are kept by what follows.

Why the bounds hold, whatever the reference does and however long a tick is:

* *Bounds of a tick.* Each axis i gets bounds V_i, A_i, J_i for this tick. For a vector they are shares of the vector's bounds,
  sum V_i^2 <= V^2 and so on; for separate axes they are the axes' own. Always |a_i| <= A_i for the present acceleration.
* *The stop.* ``stopping`` gives each axis' quickest stop under A_i, J_i. Along it |a_i| <= A_i and |jerk_i| <= J_i, and |v_i| never exceeds
  max(|v_i|, |w_i|), w_i being what is left of the velocity when the acceleration is zero.
* *Safe states.* A state with bounds A_i, J_i is safe where |a_i| <= A_i, max(|v_i|, |w_i|) of all axes is within the bound on the speed, and the
  lowest and the highest position of every axis' stop lie in its range (and, for joints, the velocity along the stop under the bound that depends on
  the position). Then the whole stop is within all bounds. Every state along it is safe with the same bounds, since its stop is the rest of that
  stop.
* *Recursion.* The proposal is taken only if the state at the end of the tick is safe. Otherwise a mixture with the stop's own state is tried
  (mixtures of two motions within convex bounds are within them), and at last the step along the stop of the present state is taken, with the bounds
  it was found safe with: a safe state again. The first state is at rest in the range, hence safe; so every state is.
* *Between two ticks* Ruckig's jerk is within J_i, and the acceleration within A_i since it begins and is aimed within them; the speed is held to
  its bound as the mean over the tick, and at its ends. Velocity, acceleration and jerk of what is *sent*, as divided differences of the positions
  over the motion's time, are means of v, a and j over the ticks that they span: within the bounds too.

The motion's time is the sum of the ticks' lengths. A tick that comes late is shortened by the caller, so that time runs slower than the clock,
never faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ruckig import InputParameter, Result, Ruckig, Trajectory

from cdp_franka.limiter_bounds import PLAN, AxisBounds, Bounds, Reference, Row, clip_length, scaled_into, within_vector
from cdp_franka.stopping import AxisState, Phases, along, reach, stop_phases

# Whether the stop of the axis of this index, from this state, keeps what else its velocity is bound to.
SpeedCheck = Callable[[int, AxisState, Phases], bool]
# Lowest and highest position of each axis.
Ranges = Sequence[tuple[float, float]]

_SHARES = (0.75, 0.5, 0.25)
_ROUNDING = 1e-9
_TOUCH = 1e-12
_FLOOR = 2e-3
_NOWHERE = (math.inf, -math.inf)


def longest_travel(speed: float, acceleration: float, most: float, jerk: float) -> float:
    """An upper bound, cheap and not tight, of how far a stop goes from where it begins.

    ``speed`` is max(|v|, |w|), which the velocity never exceeds along the stop; ``most`` >= |acceleration| bounds the acceleration. The phases last
    (a + b) / J, h and b / J with b <= A and, in the sense of w, h = (v + a^2 / (2 J)) / A - A / J <= speed / A because a^2 <= A^2. A thousandth is
    added for rounding.
    """
    if speed == 0.0:
        return 0.0
    return 1.001 * speed * ((abs(acceleration) + 2.0 * most) / jerk + speed / most) if most > 0.0 else math.inf


class JerkLimited:
    """Position, velocity and acceleration (n,) of a motion that follows a reference; see the module."""

    def __init__(self, position: Sequence[float], low: Sequence[float], high: Sequence[float]) -> None:
        """At rest at ``position`` (n,), which lies in [low, high] (n,); infinite where an axis has no range. ``low`` and ``high`` are kept."""
        n = len(position)
        self.position, self.velocity, self.acceleration = [float(x) for x in position], [0.0] * n, [0.0] * n
        self.low, self.high = [float(x) for x in low], [float(x) for x in high]
        self._safe = AxisBounds([0.0] * n, [1.0] * n, [1.0] * n)
        self._ruckig, self._input, self._trajectory = Ruckig(n), InputParameter(n), Trajectory(n)
        self._input.target_position = self._input.target_velocity = self._input.target_acceleration = [0.0] * n

    def shift(self, position: Sequence[float]) -> None:
        """Put the origin elsewhere: the same motion at another ``position`` (n,), of axes without a range."""
        self.position = [float(x) for x in position]

    def rest(self) -> Row:
        """Positions (n,) at which the stop would end."""
        if not self._moving():
            return list(self.position)
        safe, state = self._safe, zip(self.position, self.velocity, self.acceleration, strict=True)
        return [
            along((p, v, a), stop_phases(v, a, max(most, abs(a)), jerk), math.inf)[0]
            for (p, v, a), most, jerk in zip(state, safe.acceleration, safe.jerk, strict=True)
        ]

    def narrow(self, low: Sequence[float], high: Sequence[float]) -> bool:
        """Draw wider ranges in to [low, high] (n,), as far as the present stop lets them, which stays safe. Whether they have come to that."""
        safe = self._safe
        for i, (p, v, a) in enumerate(zip(self.position, self.velocity, self.acceleration, strict=True)):
            lowest, highest = reach((p, v, a), stop_phases(v, a, max(safe.acceleration[i], abs(a)), safe.jerk[i])) if v or a else (p, p)
            self.low[i] = max(self.low[i], min(low[i], lowest))
            self.high[i] = min(self.high[i], max(high[i], highest))
        return self.low == list(low) and self.high == list(high)

    def stop(self, seconds: float) -> None:
        """Step of ``seconds`` along the stop."""
        self._take(self._stopping(seconds))

    def follow_vector(self, reference: Reference, bounds: Bounds, seconds: float) -> None:
        """Step of ``seconds`` > 0 towards ``reference``; ``bounds`` are of the vector's length."""
        velocity, acceleration = self.velocity, self.acceleration
        speed = max((PLAN * bounds.speed) ** 2, sum([v * v for v in velocity]))
        target_v = scaled_into(clip_length(reference.velocity, PLAN * bounds.speed), velocity, speed)
        weight = max((0.8 * bounds.acceleration) ** 2, sum([a * a for a in acceleration]))
        target_a = scaled_into(clip_length(reference.acceleration, 0.8 * bounds.acceleration), acceleration, weight)
        target = Reference(reference.position, target_v, target_a)
        offset = self._offset(target, seconds)
        needed = AxisBounds(_greater(velocity, target_v), _greater(acceleration, target_a), [])
        axes = within_vector(bounds, needed, offset)
        proposal = self._propose(target, offset, axes, seconds)
        if proposal is None:
            self.stop(seconds)
            return
        most = (bounds.speed * (1.0 + _ROUNDING)) ** 2
        states, fallback = proposal, None
        for share in (1.0, *_SHARES):
            if share < 1.0:
                fallback = fallback or self._stopping(seconds)
                states = [_mix(f, p, share) for f, p in zip(fallback, proposal, strict=True)]
            mean = sum([(s[0] - p) ** 2 for s, p in zip(states, self.position, strict=True)])
            if mean <= most * seconds * seconds and self._vector_safe(states, axes, most):
                self._take(states)
                self._safe = axes
                return
        self._take(fallback or self._stopping(seconds))

    def follow_axes(self, reference: Reference, axes: AxisBounds, seconds: float, check: SpeedCheck, free: Ranges | None = None) -> None:
        """Step of ``seconds`` > 0 towards ``reference``, each axis for itself within ``axes``, the same at every tick, and ``check``.

        ``free`` (n): positions for which ``check`` is known to hold whatever the velocity within ``axes``.
        """
        n = len(self.position)
        target = Reference(
            reference.position,
            [min(max(v, -PLAN * s), PLAN * s) for v, s in zip(reference.velocity, axes.speed, strict=True)],
            [min(max(a, -0.8 * s), 0.8 * s) for a, s in zip(reference.acceleration, axes.acceleration, strict=True)],
        )
        inside = AxisBounds([PLAN * s for s in axes.speed], [PLAN * s for s in axes.acceleration], axes.jerk)
        proposal = self._propose(target, self._offset(target, seconds), inside, seconds)
        states: list[AxisState] = []
        fallback: list[AxisState] | None = None
        for i in range(n):
            unchecked = _NOWHERE if free is None else free[i]
            if proposal is not None and self._axis_safe(i, proposal[i], axes, seconds, check, unchecked):
                states.append(proposal[i])
                continue
            fallback = fallback or self._stopping(seconds)
            mixtures = [] if proposal is None else [_mix(fallback[i], proposal[i], share) for share in _SHARES]
            states.append(next((m for m in mixtures if self._axis_safe(i, m, axes, seconds, check, unchecked)), fallback[i]))
        self._safe = axes
        self._take(states)

    def _axis_safe(self, i: int, state: AxisState, axes: AxisBounds, seconds: float, check: SpeedCheck, free: tuple[float, float]) -> bool:
        most, acceleration, jerk = axes.speed[i] * (1.0 + _ROUNDING), axes.acceleration[i], axes.jerk[i]
        p, v, a = state
        if abs(a) > acceleration * (1.0 + _ROUNDING) or abs(p - self.position[i]) > most * seconds:
            return False
        speed = max(abs(v), abs(v + a * abs(a) / (2.0 * jerk)))
        if speed > most:
            return False
        if free[0] <= p <= free[1] and self._far_inside(i, p, longest_travel(speed, a, acceleration, jerk)):
            return True
        phases = stop_phases(v, a, acceleration, jerk)
        low, high = reach(state, phases)
        return low >= self.low[i] - _TOUCH and high <= self.high[i] + _TOUCH and check(i, state, phases)

    def _moving(self) -> bool:
        return any(self.velocity) or any(self.acceleration)

    def _far_inside(self, i: int, position: float, travel: float) -> bool:
        """Whether a stop that goes no further than ``travel`` stays in the range of axis ``i``: nothing more to look at."""
        return self.low[i] <= position - travel and position + travel <= self.high[i]

    def _offset(self, target: Reference, seconds: float) -> Reference:
        """From the target, run back to the beginning of the tick at its own velocity and acceleration, to the motion."""
        half = 0.5 * seconds * seconds
        position, velocity, acceleration = [], [], []
        for i, (p, v, a) in enumerate(zip(target.position, target.velocity, target.acceleration, strict=True)):
            position.append(self.position[i] - (p - seconds * v + half * a))
            velocity.append(self.velocity[i] - (v - seconds * a))
            acceleration.append(self.acceleration[i] - a)
        return Reference(position, velocity, acceleration)

    def _propose(self, target: Reference, offset: Reference, axes: AxisBounds, seconds: float) -> list[AxisState] | None:
        """The state after ``seconds`` of the quickest trajectory onto the moving ``target``; None where Ruckig finds none."""
        given = self._input
        given.current_position, given.current_velocity, given.current_acceleration = offset.position, offset.velocity, offset.acceleration
        speed, most = axes.speed, axes.acceleration
        tv, ta = target.velocity, target.acceleration
        # Room on every axis: Ruckig needs some, and plans that take hours for want of it are refused.
        slow, weak = _FLOOR * max(speed), _FLOOR * max(most)
        bounds: tuple[Row, Row, Row, Row] = ([], [], [], [])
        for s, v, m, a in zip(speed, tv, most, ta, strict=True):
            bounds[0].append(max(s - v, slow))
            bounds[1].append(min(-s - v, -slow))
            bounds[2].append(max(m - a, weak))
            bounds[3].append(min(-m - a, -weak))
        given.max_velocity, given.min_velocity, given.max_acceleration, given.min_acceleration = bounds
        given.max_jerk = axes.jerk
        given.minimum_duration = seconds
        try:
            if self._ruckig.calculate(given, self._trajectory) not in (Result.Working, Result.Finished):
                return None
        except ValueError:
            return None  # an error that its Python enumeration does not know
        p, v, a = self._trajectory.at_time(seconds)
        tp = target.position
        states = [(tp[i] + p[i], tv[i] + v[i], ta[i] + a[i]) for i in range(len(p))]
        return states if math.isfinite(sum(map(sum, states))) else None

    def _stopping(self, seconds: float) -> list[AxisState]:
        if not self._moving():
            return [(p, 0.0, 0.0) for p in self.position]
        safe = self._safe
        return [
            along((p, v, a), stop_phases(v, a, max(most, abs(a)), jerk), seconds)
            for p, v, a, most, jerk in zip(self.position, self.velocity, self.acceleration, safe.acceleration, safe.jerk, strict=True)
        ]

    def _vector_safe(self, states: list[AxisState], axes: AxisBounds, most: float) -> bool:
        squares = 0.0
        for i, state in enumerate(states):
            p, v, a = state
            acceleration, jerk = axes.acceleration[i], axes.jerk[i]
            if abs(a) > acceleration * (1.0 + _ROUNDING):
                return False
            left = v + a * abs(a) / (2.0 * jerk)
            squares += max(v * v, left * left)
            if self._far_inside(i, p, longest_travel(max(abs(v), abs(left)), a, acceleration, jerk)):
                continue
            low, high = reach(state, stop_phases(v, a, max(acceleration, abs(a)), jerk))
            if low < self.low[i] - _TOUCH or high > self.high[i] + _TOUCH:
                return False
        return squares <= most

    def _take(self, states: list[AxisState]) -> None:
        self.position, self.velocity, self.acceleration = map(list, zip(*states, strict=True))


def _mix(a: AxisState, b: AxisState, share: float) -> AxisState:
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2])


def _greater(one: Row, other: Row) -> Row:
    """The greater magnitude (n,) of each pair."""
    return [max(abs(x), abs(y)) for x, y in zip(one, other, strict=True)]
