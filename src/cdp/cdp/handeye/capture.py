"""When a view may be taken: the arm stands still, and the hand is elsewhere than in the views before."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray, matrix_to_rotvec
from cdp.handeye.pose import Pose

NS_PER_S = 1_000_000_000
_KEPT_S = 3.0
_LEAST_SAMPLES = 3
# A hand that is guided trembles less than this; a joint that turns slowly does not stay within it for half a second.
_STILL_RAD = 0.003
_ELSEWHERE_M, _TURNED_RAD = 0.05, np.radians(8.0)


class Stillness:
    """Joint positions of the last seconds, by their stamps."""

    def __init__(self, still_s: float = 0.5) -> None:
        """``still_s``: so long before a picture the arm has to have stood still."""
        self._still_ns = round(still_s * NS_PER_S)
        self._samples: deque[tuple[int, FloatArray]] = deque()

    def see(self, stamp_ns: int, joint_rad: ArrayLike) -> None:
        """Take in a sample; stamps that go back, as when a simulation begins anew, start anew."""
        if self._samples and stamp_ns <= self._samples[-1][0]:
            self._samples.clear()
        self._samples.append((stamp_ns, np.asarray(joint_rad, dtype=np.float64)))
        while stamp_ns - self._samples[0][0] > self._still_ns + _KEPT_S * NS_PER_S:
            self._samples.popleft()

    def at(self, stamp_ns: int) -> FloatArray | None:
        """Mean joint positions (n,) before a picture with this stamp; None where the arm moved, or is not known from before until after it."""
        if not self._samples or not self._samples[0][0] <= stamp_ns - self._still_ns or not self._samples[-1][0] >= stamp_ns:
            return None
        after = next(stamp for stamp, _ in self._samples if stamp >= stamp_ns)
        joints = np.stack([joint for stamp, joint in self._samples if stamp_ns - self._still_ns <= stamp <= after])
        if len(joints) < _LEAST_SAMPLES or float(np.ptp(joints, axis=0).max()) > _STILL_RAD:
            return None
        return np.asarray(joints.mean(axis=0))


def elsewhere(hand: Pose, taken: list[Pose]) -> bool:
    """Whether a pose of the hand differs from all that were taken, by 5 cm or 8 degrees."""
    for other in taken:
        turned = float(np.linalg.norm(matrix_to_rotvec(hand.rotation @ other.rotation.T)))
        if float(np.linalg.norm(hand.position_m - other.position_m)) < _ELSEWHERE_M and turned < _TURNED_RAD:
            return False
    return True
