"""Motion towards a moving reference within bounds on speed and acceleration, without leaving a box.

Why the bounds hold, whatever the reference does:

* The wanted velocity lies in the ball |v| <= speed. The new velocity is a point on the segment from the old velocity to the wanted one, at most
  ``acceleration * dt`` away from the old one: so |v| <= speed and |dv| <= acceleration * dt always.
* Let the *stopping point* be p + v |v| / (2 acceleration). A new velocity is taken only where the stopping point after the step lies in the box;
  otherwise the step brakes straight against the old velocity. Braking by b = acceleration * dt moves the stopping point back along v:
  (|v| - b) dt + (|v| - b)^2 / (2 acceleration) = (|v|^2 - b^2) / (2 acceleration). A stopping point in the box therefore stays in the box for every
  length of step, and with it the position, which lies between the previous position and the stopping point of a convex box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cdp.geometry import FloatArray

_SHARES = (1.0, 0.75, 0.5, 0.25)


@dataclass(frozen=True)
class Bounds:
    """Speed and acceleration of a motion, in the unit of the vector that moves (m or rad)."""

    speed: float
    acceleration: float


def clip_norm(vector: FloatArray, length: float) -> FloatArray:
    """``vector``, shortened to ``length`` where it is longer."""
    norm = float(np.linalg.norm(vector))
    return vector if norm <= length else vector * (length / norm)


def approach_speed(distance: float, acceleration: float, dt_s: float) -> float:
    """Greatest speed from which n steps of ``dt_s``, each slower by ``acceleration * dt_s``, come to rest exactly at ``distance``.

    distance = dt (n v - (n - 1) n / 2 * acceleration * dt) with the n for which v lies in ((n - 1), n] * acceleration * dt.
    """
    change = acceleration * dt_s
    steps = max(1, math.ceil(0.5 * (math.sqrt(1.0 + 8.0 * distance / (change * dt_s)) - 1.0)))
    return distance / (steps * dt_s) + 0.5 * (steps - 1) * change


def next_velocity(error: FloatArray, feed_forward: FloatArray, velocity: FloatArray, bounds: Bounds, dt_s: float) -> FloatArray:
    """Velocity (3,) for the next ``dt_s`` > 0.

    ``error`` (3,) leads from where the motion is to where the reference was one step ago; ``feed_forward`` (3,) is the reference's own velocity,
    so that a reference within the bounds is followed without lag.
    """
    distance = float(np.linalg.norm(error))
    wanted = feed_forward
    if distance > 1e-12:
        wanted = feed_forward + error * (approach_speed(distance, bounds.acceleration, dt_s) / distance)
    change = clip_norm(wanted, bounds.speed) - velocity
    return clip_norm(velocity + clip_norm(change, bounds.acceleration * dt_s), bounds.speed)


def brake(velocity: FloatArray, bounds: Bounds, dt_s: float) -> FloatArray:
    """Velocity (3,) after braking straight for ``dt_s``."""
    speed = float(np.linalg.norm(velocity))
    slower = speed - bounds.acceleration * dt_s
    return velocity * (slower / speed) if slower > 0.0 else np.zeros_like(velocity)


def stopping_point(position: FloatArray, velocity: FloatArray, bounds: Bounds) -> FloatArray:
    """Where braking straight comes to rest (3,)."""
    return position + velocity * (float(np.linalg.norm(velocity)) / (2.0 * bounds.acceleration))


def keep_in_box(
    position: FloatArray, velocity: FloatArray, wanted: FloatArray, low: FloatArray, high: FloatArray, bounds: Bounds, dt_s: float
) -> FloatArray:
    """``wanted`` velocity (3,), or as much of it as leaves the stopping point in the box [low, high].

    The old state ``position``, ``velocity`` must have its stopping point in the box.
    """
    braked = brake(velocity, bounds, dt_s)
    for share in _SHARES:
        candidate = braked + share * (wanted - braked)
        stop = stopping_point(position + candidate * dt_s, candidate, bounds)
        if np.all(stop >= low) and np.all(stop <= high):
            return candidate
    return braked
