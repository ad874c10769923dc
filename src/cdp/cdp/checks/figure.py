"""A measured figure and the range that it has to lie in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """``low <= value <= high`` is what the check ``check`` asks of ``name``; None leaves a side open. A NaN never passes."""

    check: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the value lies in its range."""
        below = self.low is not None and self.value < self.low
        above = self.high is not None and self.value > self.high
        return math.isfinite(self.value) and not below and not above

    @property
    def allowed(self) -> str:
        """The range in words."""
        if self.low is None or self.high is None:
            return f">= {self.low:.4g}" if self.low is not None else f"<= {self.high:.4g}" if self.high is not None else "any"
        return f"{self.low:.4g}" if self.low == self.high else f"{self.low:.4g} to {self.high:.4g}"


#: Measures some figures from a seed.
Check = Callable[[int], list[Figure]]

#: Draws into a folder from a seed and returns the file.
Plot = Callable[[Path, int], Path]


@dataclass(frozen=True)
class Suite:
    """The checks of one part of the core by name, and the plots that ``--out`` adds."""

    checks: Mapping[str, Check]
    plots: tuple[Plot, ...] = field(default=())
