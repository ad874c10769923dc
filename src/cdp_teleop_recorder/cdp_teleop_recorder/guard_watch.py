"""What the guard says that it commands, and whether that has come to rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdp.geometry import FloatArray, matrix_to_rotvec

# Braking from full speed takes a fifth of a second; a guard that never comes to rest is not waited for longer than this.
_PATIENCE_NS = 500_000_000
_REST_M_S, _REST_RAD_S = 0.01, 0.05


@dataclass(frozen=True, eq=False)
class Known:
    """Position (3,) [m] and rotation (3, 3), as known at a time."""

    stamp_ns: int
    position_m: FloatArray
    rotation: FloatArray


class GuardWatch:
    """The guard's last targets while it is engaged."""

    def __init__(self) -> None:
        self._before: Known | None = None
        self._policy = self._after_policy = False
        self.target: Known | None = None
        self.width_m: float | None = None

    def see(self, target: Known, width_m: float, policy: bool) -> None:
        """A new status; the width is NaN where it is not known."""
        if self.target is None or target.stamp_ns != self.target.stamp_ns or policy != self._policy:
            # What was said while the policy was followed is where the arm was going, not where it comes to rest.
            self._after_policy = self._policy and not policy
            self._before = None if self._after_policy else self.target
        self.target, self.width_m, self._policy = target, width_m if np.isfinite(width_m) else None, policy

    def at_rest(self, waited_ns: int) -> bool:
        """Whether the target is where it will stay: not the policy's, and no longer moving. Half a second of waiting ends the question."""
        if waited_ns >= _PATIENCE_NS:
            return True
        if self._policy or self.target is None:
            return False
        if self._before is None:
            return not self._after_policy
        elapsed_s = abs(self.target.stamp_ns - self._before.stamp_ns) / 1e9
        moved_m = np.linalg.norm(self.target.position_m - self._before.position_m)
        turned_rad = np.linalg.norm(matrix_to_rotvec(self.target.rotation @ self._before.rotation.T))
        return bool(moved_m <= _REST_M_S * elapsed_s and turned_rad <= _REST_RAD_S * elapsed_s)
