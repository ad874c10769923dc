"""The quickest stop of one axis with bounded acceleration and jerk, in closed form.

From velocity v and acceleration a the axis is brought to v = a = 0. Taking the acceleration to zero at the full jerk J leaves the velocity w = v +
a |a| / (2 J). Where w = 0 that is the stop. Where w > 0 (w < 0 is its mirror image) the acceleration goes down at -J to -b, stays there for h, and
comes back to zero at +J, with

    b^2 = J v + a^2 / 2, h = 0        while that b is at most the bound A,
    b = A, h = (w - A^2 / J) / A      otherwise (w is the velocity left when the acceleration is zero).

It is the time-optimal stop, so a stop that has begun goes on as the same stop: the state after t seconds of it has the rest of it as its own stop.
"""

from __future__ import annotations

import math

# (seconds, jerk) of each phase.
Phases = tuple[tuple[float, float], ...]
# Position, velocity, acceleration.
AxisState = tuple[float, float, float]


def stop_phases(velocity: float, acceleration: float, most: float, jerk: float) -> Phases:
    """Phases of the stop; ``most`` (>= |acceleration|) bounds the acceleration, ``jerk`` (> 0) the jerk."""
    left = velocity + acceleration * abs(acceleration) / (2.0 * jerk)
    if left == 0.0:
        return ((abs(acceleration) / jerk, -math.copysign(jerk, acceleration)),)
    side = math.copysign(1.0, left)
    v, a = side * velocity, side * acceleration
    peak = math.sqrt(max(jerk * v + 0.5 * a * a, 0.0))
    hold = 0.0
    if peak > most:
        peak = most
        hold = max((v + 0.5 * a * a / jerk) / most - most / jerk, 0.0)
    return ((max(a + peak, 0.0) / jerk, -side * jerk), (hold, 0.0), (peak / jerk, side * jerk))


def move(state: AxisState, jerk: float, seconds: float) -> AxisState:
    """The state after ``seconds`` of a constant jerk."""
    p, v, a = state
    return (
        p + seconds * (v + seconds * (0.5 * a + seconds * jerk / 6.0)),
        v + seconds * (a + 0.5 * seconds * jerk),
        a + seconds * jerk,
    )


def along(state: AxisState, phases: Phases, seconds: float) -> AxisState:
    """The state ``seconds`` into the stop; exactly at rest from its end on."""
    for duration, jerk in phases:
        if seconds <= duration:
            return move(state, jerk, seconds)
        state = move(state, jerk, duration)
        seconds -= duration
    return state[0], 0.0, 0.0


def reach(state: AxisState, phases: Phases) -> tuple[float, float]:
    """Lowest and highest position of the whole stop.

    The velocity changes its sign at most once, in the first phase: only where the axis moves against w.
    """
    low = high = state[0]
    duration, jerk = phases[0]
    _, v, a = state
    if v * jerk > 0.0 or (v != 0.0 and a * v < 0.0):
        turn = _first_zero(v, a, jerk, duration)
        if turn is not None:
            p = move(state, jerk, turn)[0]
            low, high = min(low, p), max(high, p)
    for duration, jerk in phases:
        state = move(state, jerk, duration)
        low, high = min(low, state[0]), max(high, state[0])
    return low, high


def _first_zero(v: float, a: float, jerk: float, before: float) -> float | None:
    """First time in (0, before) at which v + a t + jerk t^2 / 2 = 0."""
    under = a * a - 2.0 * jerk * v
    if under < 0.0 or jerk == 0.0:
        return None
    root = math.sqrt(under)
    times = sorted(t for t in ((-a - root) / jerk, (-a + root) / jerk) if 0.0 < t < before)
    return times[0] if times else None
