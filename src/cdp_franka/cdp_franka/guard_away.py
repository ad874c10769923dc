"""An arm that nothing was heard of: whoever holds it by then may have started anew, and knows nothing of the old target.

A controller that comes back holds the arm where it finds it. The old target, a lag or a sag away from there, would then move an arm that nobody has
engaged. So it is sent for a while after it has come to rest, for a controller that is still there, and not again before the next engage.
"""

from __future__ import annotations

from cdp_franka.chunk import to_ns
from cdp_franka.guard_types import Finding, Reason

# A controller that hears the target at all has it by then; one that is started takes longer to come.
_SENT_FOR_S = 0.5


class Away:
    """Since when the state has been missing with the target at rest, and whether that was long enough; latched. A new one begins with each engage."""

    def __init__(self) -> None:
        self._since_ns: int | None = None
        self.long = False

    def note(self, problem: Finding | None, moving: bool, now_ns: int) -> bool:
        """``problem``: of the measured state. Returns whether the old target is not to be sent any more."""
        if problem is None or problem.reason is not Reason.STATE_STALE or moving:
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = now_ns
        else:
            self.long |= now_ns - self._since_ns >= to_ns(_SENT_FOR_S)
        return self.long
