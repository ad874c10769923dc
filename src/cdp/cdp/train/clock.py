"""What a training has cost, and what of that the penalty has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class TrainingClock:
    """Wall time of training and, of it, of the penalty [s], kept over resumes."""

    total_s: float = 0.0
    penalty_s: float = 0.0

    @property
    def overhead(self) -> float:
        """Share by which the penalty made training slower than the same training with gamma = 0."""
        return self.penalty_s / max(self.total_s - self.penalty_s, 1e-9)
