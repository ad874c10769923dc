"""The command guard: the last word on what is sent to the robot. Pure and deterministic; time comes in as nanoseconds.

It starts refusing. Engaging takes the measured pose as the first target, so the first command never jumps; from then on one source at a time is
followed, the operator over the policy, within the limits of :class:`GuardConfig`. A silent source is held against until it speaks again; a failed
check latches STATE_FAULT, in which the last target is held until the next engage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray, matrix_to_quat, quat_to_matrix
from cdp_franka.chunk import ChunkMotion, Pose, PoseMotion, to_ns
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_motion import CartesianMotion
from cdp_franka.guard_sources import SourceTrack, check_form, check_jump, check_time
from cdp_franka.guard_types import ActionData, Finding, GuardOutput, Reason, Source, State
from cdp_franka.joint_tracker import JointTracker
from cdp_franka.kinematics import forward
from cdp_franka.rotation import turn_between

# What GuardCore.waiting_for answers where it is a source that is waited for.
SOURCE_WORDS = tuple(f"the {source.name.lower()}" for source in Source)

_HOLDS = "the last target is held"
_ENGAGE = "call /cdp/guard/engage to go on from the measured pose"


@dataclass
class RobotState:
    """Newest measured state; each part has its own header stamp, None before the first."""

    joints_ns: int | None = None
    q_rad: FloatArray | None = None
    dq_rad_s: FloatArray | None = None
    pose_ns: int | None = None
    pose: Pose | None = None
    gripper_ns: int | None = None
    gripper_width_m: float | None = None


class GuardCore:
    """See the module. Not thread-safe: one caller."""

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self._box = config.box
        self._robot = RobotState()
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
        """Begin from the measured pose. Returns whether that was possible, and why not."""
        if self._state in (State.HOLDING, State.OPERATOR, State.POLICY):
            return True, "already engaged; nothing changed"
        problem = self._state_problem(now_ns) or self._engage_problem()
        if problem is not None:
            return False, f"not engaged: {problem.text}; {'nothing is sent' if self._motion is None else _HOLDS}; correct this and engage again"
        assert self._robot.pose is not None and self._robot.q_rad is not None
        self._joints = JointTracker(self.config, self._robot.q_rad) if self.config.command_interface == "joint" else None
        self._motion = CartesianMotion(self.config, self._robot.pose if self._joints is None else self._joints.pose())
        self._gripper_width_m = self._robot.gripper_width_m
        self._forget_sources(now_ns)
        self.limited_ticks = self.rejected_actions = 0
        self._set(State.HOLDING, Finding(Reason.NO_SOURCE, "engaged at the measured pose, which is held; waiting for the operator or the policy"))
        return True, self._why.text

    def disengage(self, now_ns: int) -> tuple[bool, str]:
        """Stop sending; the robot's controller holds the last target that it got."""
        self._forget_sources(now_ns)
        self._motion = self._joints = None
        self._set(State.REFUSING, Finding(Reason.DISENGAGED, f"disengaged by request; nothing is sent, the robot holds its last target; {_ENGAGE}"))
        return True, self._why.text

    def on_joints(self, stamp_ns: int, q_rad: ArrayLike, dq_rad_s: ArrayLike) -> None:
        """Measured joint angles (7,) and velocities (7,)."""
        q, dq = np.array(q_rad, dtype=np.float64), np.array(dq_rad_s, dtype=np.float64)
        if self._usable("joint states", np.concatenate([q, dq])) and stamp_ns >= (self._robot.joints_ns or 0):
            self._robot.joints_ns, self._robot.q_rad, self._robot.dq_rad_s = stamp_ns, q, dq

    def on_pose(self, stamp_ns: int, position_m: ArrayLike, quat_xyzw: ArrayLike) -> None:
        """Measured end-effector position (3,) and quaternion (4,) in the base frame."""
        position, quat = np.array(position_m, dtype=np.float64), np.array(quat_xyzw, dtype=np.float64)
        if not self._usable("the measured pose", np.concatenate([position, quat])) or stamp_ns < (self._robot.pose_ns or 0):
            return
        if abs(float(np.linalg.norm(quat)) - 1.0) > 0.01:
            self._fail(Finding(Reason.MALFORMED, f"the measured pose has a quaternion of length {np.linalg.norm(quat):.3f}"))
            return
        self._robot.pose_ns, self._robot.pose = stamp_ns, Pose(position, quat_to_matrix(quat))

    def on_gripper(self, stamp_ns: int, width_m: float) -> None:
        """Measured opening of the gripper [m]."""
        if self._usable("the gripper's width", np.array([width_m])):
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
        problem = self._state_problem(now_ns)
        if problem is not None:
            self._fail(problem)
        source = self._choose(now_ns) if self._state is not State.FAULT else None
        limited = self._advance(source, now_ns, dt_s)
        self.limited_ticks += int(limited)
        return self._output(limited)

    def waiting_for(self, tick_ns: int, observation_ns: int) -> str | None:
        """Lock-step: what the tick of this time and newest image still needs, in words; None where it can be answered."""
        if self._robot.joints_ns is None or self._robot.joints_ns < tick_ns:
            return "joint states"
        if self._robot.pose_ns is None or self._robot.pose_ns < tick_ns:
            return "the measured pose"
        followed = {State.OPERATOR: Source.OPERATOR, State.POLICY: Source.POLICY}.get(self._state)
        if followed is not None and not self._tracks[followed].answered(observation_ns):
            return SOURCE_WORDS[list(Source).index(followed)]
        return None

    def _set(self, state: State, why: Finding) -> None:
        self._state, self._why = state, why

    def _fail(self, finding: Finding) -> None:
        """Latch a fault; nothing to do while nothing is sent or a fault is already latched."""
        if self._motion is not None and self._state is not State.FAULT:
            self._set(State.FAULT, Finding(finding.reason, f"{finding.text}; {_HOLDS}; {_ENGAGE}"))

    def _usable(self, what: str, values: FloatArray) -> bool:
        finite = bool(np.all(np.isfinite(values)))
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

    def _state_problem(self, now_ns: int) -> Finding | None:
        robot, config = self._robot, self.config
        for what, stamp_ns in (("joint states", robot.joints_ns), ("the measured pose", robot.pose_ns)):
            if stamp_ns is None:
                return Finding(Reason.STATE_STALE, f"{what}: none received")
            if now_ns - stamp_ns > to_ns(config.state_timeout_s):
                return Finding(Reason.STATE_STALE, f"{what}: {(now_ns - stamp_ns) / 1e9:.3f} s old; at most {config.state_timeout_s} s")
            if stamp_ns - now_ns > to_ns(config.future_tolerance_s):
                return Finding(Reason.STATE_STALE, f"{what}: stamped {(stamp_ns - now_ns) / 1e9:.3f} s in the future; are the clocks the same?")
        assert robot.q_rad is not None and robot.dq_rad_s is not None
        violation = config.limits.position_violation(robot.q_rad, config.joint_margin_rad)
        if violation is not None:
            return Finding(Reason.JOINT_LIMIT, violation)
        return self._speed_problem(robot.dq_rad_s)

    def _speed_problem(self, dq_rad_s: FloatArray) -> Finding | None:
        limits = self.config.limits
        share = np.abs(dq_rad_s) / limits.dq_max_rad_s
        worst = int(np.argmax(share))
        if share[worst] <= 1.0:
            return None
        return Finding(
            Reason.JOINT_VELOCITY, f"{limits.joint_names[worst]} moves at {dq_rad_s[worst]:.3f} rad/s; at most {limits.dq_max_rad_s[worst]} rad/s"
        )

    def _engage_problem(self) -> Finding | None:
        robot, config = self._robot, self.config
        assert robot.pose is not None and robot.q_rad is not None
        violation = self._box.violation(robot.pose.position_m)
        if violation is not None:
            return Finding(Reason.WORKSPACE, f"the end effector is outside the workspace: {violation}")
        position, rotation = forward(robot.q_rad)
        gap_m = float(np.linalg.norm(position - robot.pose.position_m))
        gap_rad = float(np.linalg.norm(turn_between(rotation, robot.pose.rotation)))
        if gap_m > config.kinematic_tolerance_m or gap_rad > config.kinematic_tolerance_rad:
            return Finding(
                Reason.MALFORMED,
                f"the measured pose is {gap_m:.3f} m and {gap_rad:.3f} rad from the forward kinematics of the joint angles; is the robot's "
                f"end-effector frame set to the hand's TCP, and the pose given in {config.base_frame}?",
            )
        if self._box.violation(position) is not None and config.command_interface == "joint":
            return Finding(Reason.WORKSPACE, f"the end effector is outside the workspace: {self._box.violation(position)}")
        if config.has_gripper and robot.gripper_width_m is None:
            return Finding(Reason.STATE_STALE, "the gripper's width: none received")
        return None

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
        if track.source is Source.POLICY and self._operator_in_control:
            return
        motion = ChunkMotion(action.rows, action.start_stamp_ns, action.dt_s, commanded, now_ns)
        finding = check_jump(motion, commanded.pose, self.config, now_ns)
        if finding is not None:
            self._refuse(track, finding)
            return
        track.motion, track.motion_dt_ns, track.refusal = motion, to_ns(action.dt_s), None

    def _choose(self, now_ns: int) -> SourceTrack | None:
        """The source to follow now; sets state and reason."""
        margin_ns = to_ns(self.config.source_margin_s)
        operator, policy = self._tracks[Source.OPERATOR], self._tracks[Source.POLICY]
        # A silent operator with the deadman held is waited for: falling through to the policy would surprise the person at the arm.
        track, state = (operator, State.OPERATOR) if self._operator_in_control else (policy, State.POLICY)
        finding = track.silence(now_ns, margin_ns) if track.heard else self._nobody(track)
        if track.heard and not track.deadman and (finding is None or finding.reason is Reason.NO_SOURCE):
            finding = Finding(Reason.DEADMAN_RELEASED, f"the {track.source.name.lower()} has released its deadman")
        if finding is None and state is State.POLICY:
            finding = self._workspace_fault(track, now_ns)
            if finding is not None:
                self._fail(finding)
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
        if track is None or track.motion is None or self._robot.pose is None:
            self._motion.stop(dt_s)
        else:
            limited = self._motion.follow(track.motion.at(now_ns), self._robot.pose, dt_s)
            self._gripper_width_m = min(max(track.motion.heading(now_ns)[1], 0.0), self.config.gripper_max_width_m)
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
            quat_xyzw=matrix_to_quat(pose.rotation),
            gripper_width_m=self._gripper_width_m,
            q_rad=None if joints is None else joints.q_rad.copy(),
            dq_rad_s=None if joints is None else joints.dq_rad_s.copy(),
        )
