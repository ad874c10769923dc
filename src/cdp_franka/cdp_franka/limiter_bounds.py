"""Bounds of a vector's length as bounds of its axes, for one tick: around what is needed, and where the motion has to go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

Row = list[float]

# Ruckig plans a little inside the bounds, so that rounding does not cost the proposal.
PLAN = 0.995
_TIME_SCALE_S = 0.1
_SIDE_SHARE = 0.1
_SIDE_SPEED_SHARE = 0.02


@dataclass(frozen=True)
class Bounds:
    """Greatest speed, acceleration and jerk, in the unit of what moves (m or rad) and seconds."""

    speed: float
    acceleration: float
    jerk: float


class Reference(NamedTuple):
    """Where to be at the end of the tick, and how that moves: position, velocity, acceleration (n,)."""

    position: Row
    velocity: Row
    acceleration: Row


class AxisBounds(NamedTuple):
    """Bounds of each axis for one tick (n,)."""

    speed: Row
    acceleration: Row
    jerk: Row


def split(bound: float, needed: Sequence[float], wish: Sequence[float]) -> Row:
    """Shares (n,) of ``bound`` for the axes, the root of their squares' sum at most ``bound``.

    Each gets what it needs (n,) >= 0, whose squares' sum is at most ``bound`` squared, and beyond that as much of ``bound * wish`` as is left;
    the squares of ``wish`` (n,) sum to 1.
    """
    must = [x * x for x in needed]
    want = [(bound * x) ** 2 for x in wish]
    share = _largest_share(must, want, bound * bound)
    return [math.sqrt(m if m > share * w else share * w) for m, w in zip(must, want, strict=True)]


def direction(vector: Sequence[float], side: float) -> Row:
    """Unit vector (n,) of magnitudes along ``vector``, with ``side`` of its square spread evenly over the axes."""
    squares = [x * x for x in vector]
    total, n = sum(squares), len(squares)
    if total < 1e-24:
        return [math.sqrt(1.0 / n)] * n
    return [math.sqrt((1.0 - side) * x / total + side / n) for x in squares]


def clip_length(vector: Sequence[float], length: float) -> Row:
    """``vector`` (n,), shortened to ``length`` where it is longer."""
    norm = math.sqrt(sum([x * x for x in vector]))
    return list(vector) if norm <= length else [x * (length / norm) for x in vector]


def _largest_share(fixed: Row, scaled: Row, most: float) -> float:
    """Largest share in [0, 1] with ``sum(max(fixed_i, share * scaled_i)) <= most`` (n,); 0 where none is."""
    if sum(map(max, fixed, scaled)) <= most:
        return 1.0
    rising = [i for i, x in enumerate(scaled) if x > 0.0]
    while rising:
        left = most - sum([x for i, x in enumerate(fixed) if i not in rising])
        share = left / sum([scaled[i] for i in rising])
        kept = [i for i in rising if share * scaled[i] > fixed[i]]
        if len(kept) == len(rising):
            return share
        rising = kept
    return 0.0


def within_vector(bounds: Bounds, needed: AxisBounds, offset: Reference) -> AxisBounds:
    """One tick's axis bounds (n,) of a vector's ``bounds``, around what the motion and its reference need.

    ``needed``: the present |v_i|, |a_i| and the reference's, whichever is greater; ``offset``: from the reference to the motion. Bounds go
    where the offset points, with a little for the sides.
    """
    t = _TIME_SCALE_S
    gap, course = [], []
    for p, v, a, speed in zip(offset.position, offset.velocity, offset.acceleration, needed.speed, strict=True):
        gap.append(abs(p) + t * abs(v) + t * t * abs(a))
        course.append(speed + abs(p) / t)
    wish = direction(gap, _SIDE_SHARE)
    return AxisBounds(
        split(PLAN * bounds.speed, needed.speed, direction(course, _SIDE_SPEED_SHARE)),
        split(PLAN * bounds.acceleration, needed.acceleration, wish),
        [bounds.jerk * w for w in wish],
    )


def scaled_into(wanted: Row, present: Row, most: float) -> Row:
    """``wanted`` (n,) scaled down until the greater of it and ``present`` on each axis has a squared length of at most ``most``."""
    share = _largest_share([y * y for y in present], [x * x for x in wanted], most)
    return wanted if share == 1.0 else [math.sqrt(share) * x for x in wanted]
