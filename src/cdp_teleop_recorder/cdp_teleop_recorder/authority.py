"""Who has the say, operator or policy, and whether what the operator does corrects a policy.

While the deadman is held the operator is followed. Beyond that the operator can take the authority: then the policy stays out with the deadman
released too, so that a correction may be made in several strokes, until it is given back. Actions of an operator who took over from a policy that was
being followed carry the mark of an intervention, the label that learning from interventions needs (HG-DAgger, Kelly et al., ICRA 2019).
"""

from __future__ import annotations

NS_PER_S = 1_000_000_000


class Authority:
    """See the module. Time comes in as nanoseconds."""

    def __init__(self, window_s: float) -> None:
        """``window_s``: a policy followed this recently was taken over from."""
        self._window_ns = round(window_s * NS_PER_S)
        self._policy_ns: int | None = None
        self._button_was = False
        self._in_control = False
        self._until_driving = False
        self.held = False
        self.intervention = False

    def on_button(self, down: bool) -> None:
        """State of the takeover button: each press takes the authority or gives it back."""
        if down and not self._button_was:
            self.request(not self.held)
        self._button_was = down

    def request(self, held: bool) -> None:
        """Take the authority, or give it back."""
        self.held, self._until_driving = held, False

    def keep_after_loss(self) -> None:
        """The device was lost while driving: a policy must not set in by itself. Kept until the operator drives again."""
        if not self.held:
            self.held, self._until_driving = True, True

    def on_policy_followed(self, stamp_ns: int) -> None:
        """The guard follows the policy."""
        self._policy_ns = stamp_ns

    def update(self, now_ns: int, deadman: bool) -> None:
        """Decide anew, with the deadman as it is."""
        if self._until_driving and deadman:
            self.held = self._until_driving = False
        in_control = deadman or self.held
        if in_control and not self._in_control:
            self.intervention = self._policy_ns is not None and now_ns - self._policy_ns <= self._window_ns
        self.intervention = self.intervention and in_control
        self._in_control = in_control

    def forget_time(self) -> None:
        """Time went back: stamps of before are void."""
        self._policy_ns = None
