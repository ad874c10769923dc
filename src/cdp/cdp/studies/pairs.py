"""Two policies compared seed by seed, on the same demonstrations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cdp.studies.frame import cell, short, spread


def differences(ours: Mapping[str, Any], other: Mapping[str, Any]) -> list[float]:
    """Ours minus the other, one a seed, of two :func:`cdp.studies.frame.spread`."""
    return [a - b for a, b in zip(ours["seeds"], other["seeds"], strict=True)]


def difference_cell(ours: Mapping[str, Any], other: Mapping[str, Any], digits: int = 3) -> str:
    """Mean ± standard deviation of the difference, and the seeds in which ours is more."""
    each = differences(ours, other)
    return f"{cell(spread(each), digits)} (more in {sum(d > 0.0 for d in each)} of {len(each)})"


def ratio(ours: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Geometric mean over seeds of ours / the other, of positive figures."""
    logs = [math.log(max(a, 1e-12) / max(b, 1e-12)) for a, b in zip(ours["seeds"], other["seeds"], strict=True)]
    return math.exp(math.fsum(logs) / len(logs))


def ratio_cell(ours: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """:func:`ratio`, and the seeds in which ours is smaller."""
    each = differences(ours, other)
    return f"{short(ratio(ours, other), 2)} (smaller in {sum(d < 0.0 for d in each)} of {len(each)})"
