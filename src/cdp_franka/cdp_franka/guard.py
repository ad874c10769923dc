"""The command guard: the last word on what is sent to the robot. Pure and deterministic; time comes in as nanoseconds.

It starts refusing. Engaging takes the measured pose as the first target, so the first command never jumps; from then on one source at a time is
followed, the operator over the policy, within the limits of :class:`GuardConfig`. A silent source is held against until it speaks again; a failed
check latches STATE_FAULT, in which the last target is held until the next engage, or until a retreat leads out of it. See docs/guard.md.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from cdp_franka.chunk import ChunkMotion, Pose, PoseMotion, to_ns
from cdp_franka.guard_collision import CollisionWatch
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_motion import CartesianMotion
from cdp_franka.guard_retreat import Retreat, Trace, way_up
from cdp_franka.guard_robot import RobotState, engage_problem, state_problem
from cdp_franka.guard_sources import SourceTrack, check_form, check_jump, check_time
from cdp_franka.guard_types import ActionData, Finding, GuardOutput, Reason, Source, State
from cdp_franka.joint_tracker import JointTracker
from cdp_franka.rotation import matrix_of, quat_of, small_turn

# What GuardCore.waiting_for answers where it is a source that is waited for.
SOURCE_WORDS = tuple(f"the {source.name.lower()}" for source in Source)

# Share of the acceleration limits for the curve through the rows; the rest is for coming back to it.
_BEND = 0.5
# A command this close to its curve goes on from the curve.
_NEAR_M = 0.05
_NEAR_RAD = 0.3
_FOLLOWED = {State.OPERATOR: Source.OPERATOR, State.POLICY: Source.POLICY}

_HOLDS = "the last target is held"
_ENGAGE = "call /cdp/guard/engage to go on from the measured pose"
_RETREAT = "or /cdp/guard/retreat to move away slowly"
# Faults that a retreat leads out of: what the arm was about to do was wrong, what is known of it is not.
_RETREAT_FROM = (Reason.WORKSPACE, Reason.SELF_COLLISION, Reason.TABLE, Reason.NOT_FINITE, Reason.IK_FAILED, Reason.JOINT_VELOCITY)


class GuardCore:
    """See the module. Not thread-safe: one caller."""

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self._box = config.box
        self._robot = RobotState()
        self._collision = CollisionWatch(config)
        self._trace = Trace(config.retreat_path_m)
        self._retreat: Retreat | None = None
        self._policy_waits = False
        self._sound_since_ns = 0
        self._tracks = {source: SourceTrack(source) for source in Source}
        self._motion: CartesianMotion | None = None
        self._joints: JointTracker | None = None
        self._gripper_width_m: float | None = None
        self._last_tick_ns: int | None = None
        self._state = State.REFUSING
        self._why = Finding(Reason.NOT_ENGAGED, f"never engaged; nothing is sent to the robot; {_ENGAGE}")
        self._operator_in_control = False
        self.limited_ticks = 0
        self.rejected_actions = 0

    @property
    def state(self) -> State:
        """What the guard is doing."""
        return self._state

    @property
    def robot(self) -> RobotState:
        """Newest measured state."""
        return self._robot

    def engage(self, now_ns: int) -> tuple[bool, str]:
        """Begin from the measured pose. Returns whether that was possible, and why not.

        Out of a fault it goes through STATE_RECOVERING. After a retreat it only lets the policy in again.
        """
        if self._state in (State.HOLDING, State.OPERATOR, State.POLICY, State.RECOVERING):
            waited, self._policy_waits = self._policy_waits, False
            return True, "already engaged; the policy is followed again" if waited else "already engaged; nothing changed"
        if self._state is State.RETREATING:
            return False, "not engaged: the arm is retreating; wait for its end, or cancel it by /cdp/guard/retreat with false"
        faulted = self._why if self._state is State.FAULT else None
        if self._motion is not None and self._motion.moving:
            return False, "not engaged: the target is still coming to rest; engage again"
        problem = state_problem(self._robot, self.config, now_ns) or engage_problem(self._robot, self.config)
        if problem is not None:
            return False, f"not engaged: {problem.text}; {'nothing is sent' if self._motion is None else _HOLDS}; correct this and engage again"
        assert self._robot.pose is not None and self._robot.q_rad is not None
        self._joints = JointTracker(self.config, self._robot.q_rad) if self.config.command_interface == "joint" else None
        self._motion = CartesianMotion(self.config, self._robot.pose if self._joints is None else self._joints.pose())
        self._gripper_width_m = self._robot.gripper_width_m
        self._forget_sources(now_ns)
        self._collision.restart()
        self._policy_waits = False
        self.limited_ticks = self.rejected_actions = 0
        if faulted is None:
            self._trace = Trace(self.config.retreat_path_m)
            self._set(State.HOLDING, Finding(Reason.NO_SOURCE, "engaged at the measured pose, which is held; waiting for the operator or the policy"))
        else:
            self._sound_since_ns = now_ns
            text = f"engaged at the measured pose, held while the state is watched for {self.config.recovery_s} s; the fault was: {faulted.text}"
            self._set(State.RECOVERING, Finding(Reason.RECOVERY, text))
        return True, self._why.text

    def retreat(self, now_ns: int) -> tuple[bool, str]:
        """Move slowly to a safe place. Returns whether that was begun, and why not. The policy is not followed again before an engage."""
        if self._state is State.RETREATING:
            return True, "already retreating; nothing changed"
        problem = self._no_retreat(now_ns)
        if problem is not None:
            return False, f"no retreat: {problem}"
        assert self._motion is not None
        begin = self._motion.pose
        way = way_up(begin, self.config) if self.config.retreat_by == "up" else self._trace.back()
        self._retreat = Retreat(begin, way, self.config)
        self._tracks[Source.POLICY].restart(now_ns)
        self._policy_waits = True
        self._collision.restart()
        text = "straight up, then to the safe place" if self.config.retreat_by == "up" else "back along the way that the arm came"
        self._set(State.RETREATING, Finding(Reason.RETREAT, f"retreating {text} at {self.config.retreat_speed_m_s} m/s; false cancels it"))
        return True, self._why.text

    def cancel_retreat(self) -> tuple[bool, str]:
        """Stop a retreat where it is."""
        if self._state is not State.RETREATING:
            return False, "there is no retreat to cancel; nothing changed"
        self._end_retreat("the retreat was cancelled")
        return True, self._why.text

    def disengage(self, now_ns: int) -> tuple[bool, str]:
        """Stop sending; the robot's controller holds the last target that it got."""
        self._forget_sources(now_ns)
        self._motion = self._joints = self._retreat = None
        self._set(State.REFUSING, Finding(Reason.DISENGAGED, f"disengaged by request; nothing is sent, the robot holds its last target; {_ENGAGE}"))
        return True, self._why.text

    def on_joints(self, stamp_ns: int, q_rad: ArrayLike, dq_rad_s: ArrayLike) -> None:
        """Measured joint angles (7,) and velocities (7,)."""
        q, dq = np.array(q_rad, dtype=np.float64), np.array(dq_rad_s, dtype=np.float64)
        if self._usable("joint states", [*q.tolist(), *dq.tolist()]) and stamp_ns >= (self._robot.joints_ns or 0):
            self._robot.joints_ns, self._robot.q_rad, self._robot.dq_rad_s = stamp_ns, q, dq

    def on_pose(self, stamp_ns: int, position_m: ArrayLike, quat_xyzw: ArrayLike) -> None:
        """Measured end-effector position (3,) and quaternion (4,) in the base frame."""
        position, quat = np.array(position_m, dtype=np.float64), np.array(quat_xyzw, dtype=np.float64)
        numbers = quat.tolist()
        if not self._usable("the measured pose", [*position.tolist(), *numbers]) or stamp_ns < (self._robot.pose_ns or 0):
            return
        length = math.hypot(*numbers)
        if abs(length - 1.0) > 0.01:
            self._fail(Finding(Reason.MALFORMED, f"the measured pose has a quaternion of length {length:.3f}"))
            return
        self._robot.pose_ns, self._robot.pose = stamp_ns, Pose(position, matrix_of(quat))

    def on_gripper(self, stamp_ns: int, width_m: float) -> None:
        """Measured opening of the gripper [m]."""
        if self._usable("the gripper's width", [width_m]):
            self._robot.gripper_ns, self._robot.gripper_width_m = stamp_ns, float(width_m)

    def on_action(self, action: ActionData, now_ns: int) -> None:
        """An action, a chunk or a keep-alive from the operator or the policy."""
        if self._motion is None:
            return
        if action.source not in list(Source):
            self.rejected_actions += 1
            return
        track = self._tracks[Source(action.source)]
        finding = check_form(action, self.config)
        if finding is None:
            finding = check_time(action, track, self.config, now_ns)
        if finding is not None:
            self._refuse(track, finding)
            return
        track.observation_ns, track.next_within_ns = action.observation_stamp_ns, to_ns(action.next_within_s)
        if action.observation_stamp_ns < track.epoch_ns:
            return
        track.hear(action, now_ns)
        if track.source is Source.OPERATOR:
            self._hand_over(track, action.deadman or action.authority, now_ns)
        if len(action.rows) > 0 and action.deadman:
            self._accept(track, action, self._motion.motion, now_ns)

    def tick(self, now_ns: int) -> GuardOutput:
        """Advance to ``now_ns`` and say what to send. Called at the command rate."""
        last_ns, self._last_tick_ns = self._last_tick_ns, now_ns
        if last_ns is not None and now_ns < last_ns:
            self._clock_went_back(now_ns, last_ns)
        if self._motion is None:
            return GuardOutput(self._state, self._why.reason, self._why.text, send=False)
        dt_s = min(max(now_ns - last_ns, 0) / 1e9, self.config.max_tick_s) if last_ns is not None else 0.0
        problem = state_problem(self._robot, self.config, now_ns)
        if problem is not None:
            self._fail(problem)
        source = self._next_state(now_ns)
        limited = self._advance(source, now_ns, dt_s)
        self._look_ahead(now_ns)
        self.limited_ticks += int(limited)
        return self._output(limited)

    def waiting_for(self, tick_ns: int, observation_ns: int) -> str | None:
        """Lock-step: what the tick of this time and newest image still needs, in words; None where it can be answered."""
        if self._robot.joints_ns is None or self._robot.joints_ns < tick_ns:
            return "joint states"
        if self._robot.pose_ns is None or self._robot.pose_ns < tick_ns:
            return "the measured pose"
        if self._robot.gripper_ns is not None and self._robot.gripper_ns < tick_ns:
            return "the gripper's state"
        followed = _FOLLOWED.get(self._state)
        if self._state is State.HOLDING and self._tracks[Source.POLICY].heard and not self._operator_in_control:
            # What it says next decides when the arm moves again: at a fixed instant, not at whichever its message happens to come.
            followed = Source.POLICY
        if followed is not None and not self._tracks[followed].answered(observation_ns):
            return SOURCE_WORDS[list(Source).index(followed)]
        return None

    def _set(self, state: State, why: Finding) -> None:
        self._state, self._why = state, why

    def _fail(self, finding: Finding) -> None:
        """Latch a fault; nothing to do while nothing is sent or a fault is already latched."""
        if self._motion is not None and self._state is not State.FAULT:
            self._retreat = None
            out = f"{_ENGAGE}, {_RETREAT}" if finding.reason in _RETREAT_FROM else _ENGAGE
            self._set(State.FAULT, Finding(finding.reason, f"{finding.text}; {_HOLDS}; {out}"))

    def _usable(self, what: str, values: list[float]) -> bool:
        finite = all(map(math.isfinite, values))
        if not finite:
            self._fail(Finding(Reason.NOT_FINITE, f"{what}: a number is not finite"))
        return finite

    def _forget_sources(self, now_ns: int) -> None:
        self._operator_in_control = False
        for track in self._tracks.values():
            track.restart(now_ns)

    def _clock_went_back(self, now_ns: int, last_ns: int) -> None:
        self._fail(Finding(Reason.CLOCK, f"time went back by {(last_ns - now_ns) / 1e9:.3f} s"))
        # Stamps from before belong to another time: neither state nor actions of it count.
        self._robot = RobotState()
        self._forget_sources(now_ns)

    def _no_retreat(self, now_ns: int) -> str | None:
        if self._motion is None:
            return f"the guard is not engaged; nothing is sent; {_ENGAGE}"
        if self._operator_in_control:
            return "an operator is in control; release the deadman and the authority first"
        if self._state is State.RECOVERING:
            return "the guard is recovering from a fault; try again in a moment"
        if self._motion.moving and self._state is State.FAULT:
            return "the target is still coming to rest; try again"
        problem = state_problem(self._robot, self.config, now_ns)
        if problem is not None:
            return f"{problem.text}; {_HOLDS}; correct this first"
        if self._state is State.FAULT and self._why.reason not in _RETREAT_FROM:
            return f"{self._why.text}"
        if self.config.retreat_by == "path" and len(self._trace.back()) < 2:
            return "the arm has not moved since it was engaged; there is no way back"
        return None

    def _end_retreat(self, what: str) -> None:
        self._retreat = None
        self._set(
            State.HOLDING, Finding(Reason.RETREATED, f"{what}; the target is held; the operator may move it; engage to let the policy in again")
        )

    def _next_state(self, now_ns: int) -> SourceTrack | None:
        """State and reason of this tick; the source to follow, None where none is."""
        if self._state is State.FAULT:
            return None
        if self._state is State.RECOVERING:
            if now_ns - self._sound_since_ns < to_ns(self.config.recovery_s):
                return None
            # What was said before the state was sound does not count.
            self._forget_sources(now_ns)
        if self._state is State.RETREATING:
            assert self._retreat is not None and self._motion is not None
            if self._operator_in_control:
                self._end_retreat("the retreat was ended by the operator")
            elif self._retreat.done(self._motion.pose):
                self._end_retreat("the retreat has come to its end")
                return None
            else:
                return None
        return self._choose(now_ns)

    def _look_ahead(self, now_ns: int) -> None:
        """Fault where the stop of what is commanded would end too close to a link or to the table."""
        if self._state is State.FAULT or self._motion is None or self._robot.q_rad is None or not self._collision.due(now_ns):
            return
        if self._joints is not None:
            finding = self._collision.of_joints(self._joints.q_at_rest_rad, self._robot.q_rad, now_ns)
        else:
            finding = self._collision.of_pose(self._motion.pose_at_rest, self._robot.q_rad, now_ns)
        if finding is not None:
            self._fail(finding)

    def _refuse(self, track: SourceTrack, finding: Finding) -> None:
        self.rejected_actions += 1
        track.refusal = Finding(finding.reason, f"action refused: {finding.text}")
        if finding.reason is Reason.NOT_FINITE:
            self._fail(Finding(finding.reason, f"action of the {track.source.name.lower()}: {finding.text}"))

    def _hand_over(self, operator: SourceTrack, in_control: bool, now_ns: int) -> None:
        """Operator takes or gives up control. What the policy wanted before either is void."""
        if in_control == self._operator_in_control:
            return
        self._operator_in_control = in_control
        operator.motion, operator.refusal = None, None
        self._tracks[Source.POLICY].restart(now_ns)

    def _accept(self, track: SourceTrack, action: ActionData, commanded: PoseMotion, now_ns: int) -> None:
        if track.source is Source.POLICY and (self._operator_in_control or self._policy_waits):
            return
        bends = _BEND * self.config.linear_acceleration_m_s2, _BEND * self.config.angular_acceleration_rad_s2
        motion = ChunkMotion(action.rows, action.start_stamp_ns, action.dt_s, self._anchor(track, commanded, now_ns), now_ns, bends)
        finding = check_jump(motion, commanded.pose, self.config, now_ns)
        if finding is not None:
            self._refuse(track, finding)
            return
        track.motion, track.motion_dt_ns, track.refusal = motion, to_ns(action.dt_s), None

    def _anchor(self, track: SourceTrack, commanded: PoseMotion, now_ns: int) -> PoseMotion:
        """Where a new chunk begins: on the curve that is being followed, while the command is close to it, else at the command.

        Beginning at the command each time would forget how far that is behind: single rows towards one place would be circled.
        """
        if track.motion is None or _FOLLOWED.get(self._state) is not track.source:
            return commanded
        curve = track.motion.at(now_ns)
        near = math.dist(curve.pose.position_m, commanded.pose.position_m) <= _NEAR_M
        return curve if near and small_turn(curve.pose.rotation, commanded.pose.rotation) <= _NEAR_RAD else commanded

    def _choose(self, now_ns: int) -> SourceTrack | None:
        """The source to follow now; sets state and reason."""
        operator, policy = self._tracks[Source.OPERATOR], self._tracks[Source.POLICY]
        # A silent operator with the deadman held is waited for: falling through to the policy would surprise the person at the arm.
        track, state = (operator, State.OPERATOR) if self._operator_in_control else (policy, State.POLICY)
        finding = track.silence(now_ns, self.config) if track.heard else self._nobody(track)
        if track.heard and not track.deadman and (finding is None or finding.reason is Reason.NO_SOURCE):
            finding = Finding(Reason.DEADMAN_RELEASED, f"the {track.source.name.lower()} has released its deadman")
        if finding is None and state is State.POLICY:
            finding = self._workspace_fault(track, now_ns)
            if finding is not None:
                self._fail(finding)
                return None
        if finding is not None and self._policy_waits and state is State.POLICY:
            if self._why.reason is not Reason.RETREATED:
                self._end_retreat("the retreat has ended before")
            return None
        if finding is not None:
            self._set(State.HOLDING, Finding(finding.reason, f"{finding.text}; {_HOLDS}; following resumes with the next good action"))
            return None
        self._set(state, Finding(Reason.NONE, f"following the {track.source.name.lower()}"))
        return track

    def _nobody(self, policy: SourceTrack) -> Finding:
        if self._tracks[Source.OPERATOR].heard:
            return Finding(Reason.DEADMAN_RELEASED, "the operator's deadman is released and the policy has not answered since")
        return policy.refusal or Finding(Reason.NO_SOURCE, "neither operator nor policy has sent an action since engaging")

    def _workspace_fault(self, track: SourceTrack, now_ns: int) -> Finding | None:
        assert track.motion is not None
        heading, _ = track.motion.heading(now_ns)
        violation = self._box.violation(heading.position_m, self.config.workspace_tolerance_m)
        return None if violation is None else Finding(Reason.WORKSPACE, f"the policy's target is outside the workspace: {violation}")

    def _advance(self, track: SourceTrack | None, now_ns: int, dt_s: float) -> bool:
        """Moves the commanded pose by one step. Returns whether a limit held it back."""
        assert self._motion is not None
        limited = False
        if dt_s <= 0.0:
            return limited
        measured = self._robot.pose
        if self._retreat is not None and measured is not None:
            limited = self._motion.follow(self._retreat.advance(self._motion.pose, dt_s), measured, dt_s, slowly=True)
        elif track is None or track.motion is None or measured is None:
            self._motion.stop(dt_s)
        else:
            limited = self._motion.follow(track.motion.at(now_ns), measured, dt_s)
            self._gripper_width_m = min(max(track.motion.heading(now_ns)[1], 0.0), self.config.gripper_max_width_m)
        if self._retreat is None and self._state is not State.FAULT:
            self._trace.note(self._motion.pose)
        self._advance_joints(dt_s)
        return limited

    def _advance_joints(self, dt_s: float) -> None:
        if self._joints is None or self._motion is None:
            return
        if self._state is State.FAULT:
            self._joints.stop(dt_s)
            return
        behind_m, behind_rad = self._joints.follow(self._motion.pose, self._motion.twist, dt_s)
        if behind_m > self.config.ik_tolerance_m or behind_rad > self.config.ik_tolerance_rad or math.isnan(behind_m + behind_rad):
            self._fail(Finding(Reason.IK_FAILED, f"joint commands stay {behind_m:.3f} m and {behind_rad:.3f} rad behind the target"))

    def _output(self, limited: bool) -> GuardOutput:
        assert self._motion is not None
        pose, joints = self._motion.pose, self._joints
        return GuardOutput(
            state=self._state,
            reason=self._why.reason,
            message=self._why.text,
            send=True,
            limited=limited,
            position_m=pose.position_m.copy(),
            quat_xyzw=quat_of(pose.rotation),
            gripper_width_m=self._gripper_width_m,
            q_rad=None if joints is None else joints.q_rad,
            dq_rad_s=None if joints is None else joints.dq_rad_s,
            ddq_rad_s2=None if joints is None else joints.ddq_rad_s2,
        )
