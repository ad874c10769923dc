"""Actions as they come in: noted, refused or made into a motion to follow; who is in control, and whom the guard would follow now."""

from __future__ import annotations

import math

from cdp_franka.chunk import ChunkMotion, PoseMotion, to_ns
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_motion import CartesianMotion
from cdp_franka.guard_sources import SourceTrack, check_form, check_jump, check_time
from cdp_franka.guard_types import ActionData, Finding, Reason, Source, State
from cdp_franka.rotation import small_turn

# Share of the acceleration limits for the curve through the rows; the rest is for coming back to it.
_BEND = 0.5
# A command this close to its curve goes on from the curve.
_NEAR_M = 0.05
_NEAR_RAD = 0.3
FOLLOWED = {State.OPERATOR: Source.OPERATOR, State.POLICY: Source.POLICY}


class Intake:
    """The sources since the last engage. ``policy_waits``: after a retreat the policy is not followed before an engage."""

    def __init__(self, config: GuardConfig) -> None:
        self._config = config
        self._tracks = {source: SourceTrack(source) for source in Source}
        self.operator_in_control = False
        self.policy_waits = False
        self.rejected = 0

    def track(self, source: Source) -> SourceTrack:
        """What is known of a source."""
        return self._tracks[source]

    def forget(self, now_ns: int) -> None:
        """Begin anew: actions that answer an observation before ``now_ns`` do not count."""
        self.operator_in_control = False
        for track in self._tracks.values():
            track.restart(now_ns)

    def take(self, action: ActionData, commanded: CartesianMotion, state: State, now_ns: int) -> Finding | None:
        """An action, a chunk or a keep-alive. Returns the fault that it is, if it is one; a mere refusal is kept with its source."""
        if action.source not in list(Source):
            self.rejected += 1
            return None
        track = self._tracks[Source(action.source)]
        finding = check_form(action, self._config)
        if finding is None:
            finding = check_time(action, track, self._config, now_ns)
        if finding is not None:
            return self._refuse(track, finding)
        track.observation_ns, track.next_within_ns = action.observation_stamp_ns, to_ns(action.next_within_s)
        if action.observation_stamp_ns < track.epoch_ns:
            return None
        track.hear(action, now_ns)
        if track.source is Source.OPERATOR:
            self._hand_over(track, action.deadman or action.authority, now_ns)
        if len(action.rows) > 0 and action.deadman:
            return self._accept(track, action, commanded.motion, FOLLOWED.get(state), now_ns)
        return None

    def candidate(self, now_ns: int) -> tuple[SourceTrack, State, Finding | None]:
        """The source whose turn it is, the state of following it, and why it can not be followed, None where it can."""
        operator, policy = self._tracks[Source.OPERATOR], self._tracks[Source.POLICY]
        # A silent operator with the deadman held is waited for: falling through to the policy would surprise the person at the arm.
        track, state = (operator, State.OPERATOR) if self.operator_in_control else (policy, State.POLICY)
        finding = track.silence(now_ns, self._config) if track.heard else self._nobody(track)
        if track.heard and not track.deadman and (finding is None or finding.reason is Reason.NO_SOURCE):
            finding = Finding(Reason.DEADMAN_RELEASED, f"the {track.source.name.lower()} has released its deadman")
        return track, state, finding

    def _nobody(self, policy: SourceTrack) -> Finding:
        if self._tracks[Source.OPERATOR].heard:
            return Finding(Reason.DEADMAN_RELEASED, "the operator's deadman is released and the policy has not answered since")
        return policy.refusal or Finding(Reason.NO_SOURCE, "neither operator nor policy has sent an action since engaging")

    def _refuse(self, track: SourceTrack, finding: Finding) -> Finding | None:
        self.rejected += 1
        track.refusal = Finding(finding.reason, f"action refused: {finding.text}")
        if finding.reason is Reason.NOT_FINITE:
            return Finding(finding.reason, f"action of the {track.source.name.lower()}: {finding.text}")
        return None

    def _hand_over(self, operator: SourceTrack, in_control: bool, now_ns: int) -> None:
        """Operator takes or gives up control. What the policy wanted before either is void."""
        if in_control == self.operator_in_control:
            return
        self.operator_in_control = in_control
        operator.motion, operator.refusal = None, None
        self._tracks[Source.POLICY].restart(now_ns)

    def _accept(self, track: SourceTrack, action: ActionData, commanded: PoseMotion, followed: Source | None, now_ns: int) -> Finding | None:
        if track.source is Source.POLICY and (self.operator_in_control or self.policy_waits):
            return None
        bends = _BEND * self._config.linear_acceleration_m_s2, _BEND * self._config.angular_acceleration_rad_s2
        anchor = _anchor(track, commanded, followed, now_ns)
        motion = ChunkMotion(action.rows, action.start_stamp_ns, action.dt_s, anchor, now_ns, bends)
        finding = check_jump(motion, commanded.pose, self._config, now_ns)
        if finding is not None:
            return self._refuse(track, finding)
        track.motion, track.motion_dt_ns, track.refusal = motion, to_ns(action.dt_s), None
        return None


def _anchor(track: SourceTrack, commanded: PoseMotion, followed: Source | None, now_ns: int) -> PoseMotion:
    """Where a new chunk begins: on the curve that is being followed, while the command is close to it, else at the command.

    Beginning at the command each time would forget how far that is behind: single rows towards one place would be circled.
    """
    if track.motion is None or followed is not track.source:
        return commanded
    curve = track.motion.at(now_ns)
    near = math.dist(curve.pose.position_m, commanded.pose.position_m) <= _NEAR_M
    return curve if near and small_turn(curve.pose.rotation, commanded.pose.rotation) <= _NEAR_RAD else commanded
