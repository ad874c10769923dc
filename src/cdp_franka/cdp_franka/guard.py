"""The command guard: the last word on what is sent to the robot. Pure and deterministic; time comes in as nanoseconds.

It starts refusing. Engaging takes the measured pose as the first target, so the first command never jumps; from then on one source at a time is
followed, the operator over the policy, within the limits of :class:`GuardConfig`. A silent source is held against until it speaks again; a failed
check latches STATE_FAULT, in which the last target is held until the next engage, or until a retreat leads out of it. See docs/guard.md.
"""

from __future__ import annotations

from dataclasses import replace

from numpy.typing import ArrayLike

from cdp_franka.chunk import to_ns
from cdp_franka.guard_away import Away
from cdp_franka.guard_collision import CollisionWatch
from cdp_franka.guard_commanded import Commanded
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_intake import Intake
from cdp_franka.guard_lockstep import waiting_for
from cdp_franka.guard_retreat import Retreat, Trace, way_up
from cdp_franka.guard_robot import RobotState, engage_problem, state_problem
from cdp_franka.guard_sources import SourceTrack
from cdp_franka.guard_types import ActionData, Finding, GuardOutput, Reason, Source, State

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
        self._away = Away()
        self._trace = Trace(config.retreat_path_m)
        self._retreat: Retreat | None = None
        self._sound_since_ns = 0
        self._intake = Intake(config)
        self._commanded: Commanded | None = None
        self._last_tick_ns: int | None = None
        self._state = State.REFUSING
        self._why = Finding(Reason.NOT_ENGAGED, f"never engaged; nothing is sent to the robot; {_ENGAGE}")
        self.limited_ticks = 0

    @property
    def state(self) -> State:
        """What the guard is doing."""
        return self._state

    @property
    def robot(self) -> RobotState:
        """Newest measured state."""
        return self._robot

    @property
    def rejected_actions(self) -> int:
        """How many actions were refused since the last engage."""
        return self._intake.rejected

    def engage(self, now_ns: int) -> tuple[bool, str]:
        """Begin from the measured pose. Returns whether that was possible, and why not.

        Out of a fault it goes through STATE_RECOVERING. After a retreat it only lets the policy in again.
        """
        if self._state in (State.HOLDING, State.OPERATOR, State.POLICY, State.RECOVERING):
            waited, self._intake.policy_waits = self._intake.policy_waits, False
            return True, "already engaged; the policy is followed again" if waited else "already engaged; nothing changed"
        if self._state is State.RETREATING:
            return False, "not engaged: the arm is retreating; wait for its end, or cancel it by /cdp/guard/retreat with false"
        faulted = self._why if self._state is State.FAULT else None
        if self._commanded is not None and self._commanded.moving:
            return False, "not engaged: the target is still coming to rest; engage again"
        problem = state_problem(self._robot, self.config, now_ns) or engage_problem(self._robot, self.config)
        if problem is not None:
            return False, f"not engaged: {problem.text}; {'nothing is sent' if self._commanded is None else _HOLDS}; correct this and engage again"
        self._commanded, self._away = Commanded(self.config, self._robot), Away()
        self._intake.forget(now_ns)
        self._collision.restart()
        self._intake.policy_waits = False
        self.limited_ticks = self._intake.rejected = 0
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
        assert self._commanded is not None
        begin = self._commanded.motion.pose
        way = way_up(begin, self.config) if self.config.retreat_by == "up" else self._trace.back(self.config)
        self._retreat = Retreat(begin, way, self.config)
        self._intake.track(Source.POLICY).restart(now_ns)
        self._intake.policy_waits = True
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

    def disengage(self, now_ns: int, why: str = "by request") -> tuple[bool, str]:
        """Stop sending; the robot's controller holds the last target that it got. ``why`` is told."""
        self._intake.forget(now_ns)
        self._commanded = self._retreat = None
        self._set(State.REFUSING, Finding(Reason.DISENGAGED, f"disengaged {why}; nothing is sent, the robot holds its last target; {_ENGAGE}"))
        return True, self._why.text

    def on_joints(self, stamp_ns: int, q_rad: ArrayLike, dq_rad_s: ArrayLike) -> None:
        """Measured joint angles (7,) and velocities (7,)."""
        self._note(self._robot.take_joints(stamp_ns, q_rad, dq_rad_s))

    def on_pose(self, stamp_ns: int, position_m: ArrayLike, quat_xyzw: ArrayLike) -> None:
        """Measured end-effector position (3,) and quaternion (4,) in the base frame."""
        self._note(self._robot.take_pose(stamp_ns, position_m, quat_xyzw))

    def on_gripper(self, stamp_ns: int, width_m: float) -> None:
        """Measured opening of the gripper [m]."""
        self._note(self._robot.take_gripper(stamp_ns, width_m))

    def on_action(self, action: ActionData, now_ns: int) -> None:
        """An action, a chunk or a keep-alive from the operator or the policy."""
        if self._commanded is not None:
            self._note(self._intake.take(action, self._commanded.motion, self._state, now_ns))

    def tick(self, now_ns: int) -> GuardOutput:
        """Advance to ``now_ns`` and say what to send. Called at the command rate."""
        last_ns, self._last_tick_ns = self._last_tick_ns, now_ns
        if last_ns is not None and now_ns < last_ns:
            self._clock_went_back(now_ns, last_ns)
        if self._commanded is None:
            return GuardOutput(self._state, self._why.reason, self._why.text, send=False)
        dt_s = min(max(now_ns - last_ns, 0) / 1e9, self.config.max_tick_s) if last_ns is not None else 0.0
        problem = state_problem(self._robot, self.config, now_ns)
        self._note(problem)
        source = self._next_state(now_ns, self._commanded)
        limited = dt_s > 0.0 and self._advance(self._commanded, source, now_ns, dt_s)
        if self._state is not State.FAULT:
            self._note(self._commanded.look_ahead(self._collision, self._robot, now_ns))
        self.limited_ticks += int(limited)
        out = self._commanded.output(self._state, self._why, limited)
        return replace(out, send=False) if self._away.note(problem, self._commanded.moving, now_ns) else out

    def waiting_for(self, tick_ns: int, observation_ns: int) -> str | None:
        """Lock-step: what the tick of this time and newest image still needs, in words; None where it can be answered."""
        return waiting_for(self._robot, self._intake, self._state, tick_ns, observation_ns)

    def _set(self, state: State, why: Finding) -> None:
        self._state, self._why = state, why

    def _fail(self, finding: Finding) -> None:
        """Latch a fault; nothing to do while nothing is sent or a fault is already latched."""
        if self._commanded is not None and self._state is not State.FAULT:
            self._retreat = None
            out = f"{_ENGAGE}, {_RETREAT}" if finding.reason in _RETREAT_FROM else _ENGAGE
            self._set(State.FAULT, Finding(finding.reason, f"{finding.text}; {_HOLDS}; {out}"))

    def _note(self, finding: Finding | None) -> None:
        if finding is not None:
            self._fail(finding)

    def _clock_went_back(self, now_ns: int, last_ns: int) -> None:
        self._fail(Finding(Reason.CLOCK, f"time went back by {(last_ns - now_ns) / 1e9:.3f} s"))
        # Stamps from before belong to another time: neither state nor actions of it count.
        self._robot = RobotState()
        self._intake.forget(now_ns)

    def _no_retreat(self, now_ns: int) -> str | None:
        if self._commanded is None:
            return f"the guard is not engaged; nothing is sent; {_ENGAGE}"
        if self._intake.operator_in_control:
            return "an operator is in control; release the deadman and the authority first"
        if self._state is State.RECOVERING:
            return "the guard is recovering from a fault; try again in a moment"
        if self._away.long:
            return f"nothing was heard of the arm, which may be held elsewhere than at the target; {_ENGAGE}"
        if self._commanded.moving and self._state is State.FAULT:
            return "the target is still coming to rest; try again"
        problem = state_problem(self._robot, self.config, now_ns)
        if problem is not None:
            return f"{problem.text}; {_HOLDS}; correct this first"
        if self._state is State.FAULT and self._why.reason not in _RETREAT_FROM:
            return f"{self._why.text}"
        if self.config.retreat_by == "path" and len(self._trace.back(self.config)) < 2:
            return "the arm has not moved since it was engaged; there is no way back"
        return None

    def _end_retreat(self, what: str) -> None:
        self._retreat = None
        self._set(
            State.HOLDING, Finding(Reason.RETREATED, f"{what}; the target is held; the operator may move it; engage to let the policy in again")
        )

    def _next_state(self, now_ns: int, commanded: Commanded) -> SourceTrack | None:
        """State and reason of this tick; the source to follow, None where none is."""
        if self._state is State.FAULT:
            return None
        if self._state is State.RECOVERING:
            if now_ns - self._sound_since_ns < to_ns(self.config.recovery_s):
                return None
            # What was said before the state was sound does not count.
            self._intake.forget(now_ns)
        if self._state is State.RETREATING:
            assert self._retreat is not None
            if self._intake.operator_in_control:
                self._end_retreat("the retreat was ended by the operator")
            elif self._retreat.done(commanded.motion.pose):
                self._end_retreat("the retreat has come to its end")
                return None
            else:
                return None
        return self._choose(now_ns)

    def _choose(self, now_ns: int) -> SourceTrack | None:
        """The source to follow now; sets state and reason."""
        track, state, finding = self._intake.candidate(now_ns)
        if finding is None and state is State.POLICY:
            finding = self._workspace_fault(track, now_ns)
            if finding is not None:
                self._fail(finding)
                return None
        if finding is not None and self._intake.policy_waits and state is State.POLICY:
            if self._why.reason is not Reason.RETREATED:
                self._end_retreat("the retreat has ended before")
            return None
        if finding is not None:
            self._set(State.HOLDING, Finding(finding.reason, f"{finding.text}; {_HOLDS}; following resumes with the next good action"))
            return None
        self._set(state, Finding(Reason.NONE, f"following the {track.source.name.lower()}"))
        return track

    def _workspace_fault(self, track: SourceTrack, now_ns: int) -> Finding | None:
        assert track.motion is not None
        heading, _ = track.motion.heading(now_ns)
        violation = self._box.violation(heading.position_m, self.config.workspace_tolerance_m)
        return None if violation is None else Finding(Reason.WORKSPACE, f"the policy's target is outside the workspace: {violation}")

    def _advance(self, commanded: Commanded, track: SourceTrack | None, now_ns: int, dt_s: float) -> bool:
        """Moves what is commanded by one step, ``dt_s`` > 0. Returns whether a limit held it back."""
        limited = commanded.move(track, self._retreat, self._robot, now_ns, dt_s)
        if self._retreat is None and self._state is not State.FAULT:
            self._trace.note(commanded.motion.pose)
        self._note(commanded.move_joints(dt_s, faulted=self._state is State.FAULT))
        return limited
