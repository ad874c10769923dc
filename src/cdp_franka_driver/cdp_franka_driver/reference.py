"""The path between the guard's targets, at the robot's 1 kHz. Plain floats only: Numba compiles this for the C++ loop, tests run it as Python.

Each target says where to be, how fast, and in how long. From the reference of the moment to there leads the polynomial of fifth degree through both
ends' positions, velocities and accelerations, so all three are continuous whenever a target comes. Past its end the velocity is kept for a moment,
in case the next target is late, and then braked away: an arm whose commands stop stands still. A target that comes too late to be reached in time
within the limits is reached later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# What compiles a function, or leaves it as it is.
Jit = Callable[[Any], Any]
_INSTANTS, _STRETCHES, _STRETCH = 8, 16, 1.25


def quintic(x0: float, v0: float, a0: float, x1: float, v1: float, a1: float, duration_s: float, t_s: float) -> tuple[float, float, float]:
    """Position, velocity and acceleration at ``t_s`` of the quintic from (x0, v0, a0) to (x1, v1, a1) in ``duration_s``."""
    way = x1 - x0
    d2 = duration_s * duration_s
    c3 = (20.0 * way - (8.0 * v1 + 12.0 * v0) * duration_s - (3.0 * a0 - a1) * d2) / (2.0 * d2 * duration_s)
    c4 = (-30.0 * way + (14.0 * v1 + 16.0 * v0) * duration_s + (3.0 * a0 - 2.0 * a1) * d2) / (2.0 * d2 * d2)
    c5 = (12.0 * way - 6.0 * (v1 + v0) * duration_s + (a1 - a0) * d2) / (2.0 * d2 * d2 * duration_s)
    x = x0 + t_s * (v0 + t_s * (0.5 * a0 + t_s * (c3 + t_s * (c4 + t_s * c5))))
    v = v0 + t_s * (a0 + t_s * (3.0 * c3 + t_s * (4.0 * c4 + t_s * 5.0 * c5)))
    a = a0 + t_s * (6.0 * c3 + t_s * (12.0 * c4 + t_s * 20.0 * c5))
    return x, v, a


def coast_and_brake(x1: float, v1: float, coast_s: float, deceleration: float, t_s: float) -> tuple[float, float, float]:
    """Position, velocity and acceleration ``t_s`` after the end of a segment: at ``v1`` for ``coast_s``, then braked to rest."""
    if t_s <= coast_s:
        return x1 + v1 * t_s, v1, 0.0
    sign = 1.0 if v1 > 0.0 else -1.0
    speed = v1 * sign
    braked_s = min(t_s - coast_s, speed / deceleration)
    x = x1 + v1 * coast_s + sign * (speed - 0.5 * deceleration * braked_s) * braked_s
    if t_s - coast_s >= speed / deceleration:
        return x, 0.0, 0.0
    return x, sign * (speed - deceleration * braked_s), -sign * deceleration


def make_reference(jit: Jit) -> Any:
    """``at(x0, v0, a0, x1, v1, a1, duration_s, coast_s, deceleration, t_s)``: the whole reference after a target, compiled by ``jit``."""
    segment, beyond = jit(quintic), jit(coast_and_brake)

    def at(
        x0: float, v0: float, a0: float, x1: float, v1: float, a1: float, duration_s: float, coast_s: float, deceleration: float, t_s: float
    ) -> tuple[float, float, float]:
        if t_s < duration_s:
            x, v, a = segment(x0, v0, a0, x1, v1, a1, duration_s, t_s)
        else:
            x, v, a = beyond(x1, v1, coast_s, deceleration, t_s - duration_s)
        return x, v, a

    return jit(at)


def make_duration(jit: Jit) -> Any:
    """``at_least(x0, v0, a0, x1, v1, a1, duration_s, speed, acceleration)``: ``duration_s``, or longer where the segment needs it to keep the limits.

    Looks at seven instants, and stretches by a quarter up to sixteen times; the ends are what they are.
    """
    segment = jit(quintic)

    def at_least(x0: float, v0: float, a0: float, x1: float, v1: float, a1: float, duration_s: float, speed: float, acceleration: float) -> float:
        for _ in range(_STRETCHES):
            fastest, hardest = 0.0, 0.0
            for k in range(1, _INSTANTS):
                _, v, a = segment(x0, v0, a0, x1, v1, a1, duration_s, duration_s * k / _INSTANTS)
                fastest, hardest = max(fastest, abs(v)), max(hardest, abs(a))
            if fastest <= speed and hardest <= acceleration:
                break
            duration_s *= _STRETCH
        return duration_s

    return jit(at_least)
