"""Whether the hand was turned enough: a camera's pose is fixed by turns about two axes, not by shifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdp.geometry import FloatArray, matrix_to_rotvec
from cdp.handeye.pose import Pose

LEAST_VIEWS = 6
# Root mean square of the turn between two views, about the second of the hand's principal axes of turning.
LEAST_TURN_DEG = 8.0
_AXES = (("x", "tip it sideways"), ("y", "tip it about the line between the fingers"), ("z", "turn it about the fingers' direction"))


@dataclass(frozen=True)
class Turns:
    """How far the hand turned between two views, on average: ``about_deg`` (3,), about its own x, y, z; ``second_deg``: about its second axis."""

    about_deg: FloatArray
    second_deg: float

    @property
    def enough(self) -> bool:
        """Whether two axes are there."""
        return self.second_deg >= LEAST_TURN_DEG

    @property
    def advice(self) -> str:
        """About which of the hand's axes to turn next: the one that it turned about least."""
        name, how = _AXES[int(np.argmin(self.about_deg))]
        return f"turn the hand about its {name} axis too ({how}), by 20 to 40 degrees either way"


def turns_of(hands: Pose) -> Turns:
    """The turns between all pairs of N poses of the hand."""
    rotations = hands.rotation
    first, second = np.triu_indices(len(rotations), 1)
    if not len(first):
        return Turns(np.zeros(3), 0.0)
    turns = np.degrees(matrix_to_rotvec(np.swapaxes(rotations[first], 1, 2) @ rotations[second]))
    moments = turns.T @ turns / len(turns)
    return Turns(np.sqrt(np.diag(moments)), float(np.sqrt(max(0.0, np.linalg.eigvalsh(moments)[1]))))
