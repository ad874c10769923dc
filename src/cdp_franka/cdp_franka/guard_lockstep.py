"""Lock-step: what a tick still needs before the guard can answer it."""

from __future__ import annotations

from cdp_franka.guard_intake import FOLLOWED, Intake
from cdp_franka.guard_robot import RobotState
from cdp_franka.guard_types import Source, State

# What waiting_for answers where it is a source that is waited for.
SOURCE_WORDS = tuple(f"the {source.name.lower()}" for source in Source)


def waiting_for(robot: RobotState, intake: Intake, state: State, tick_ns: int, observation_ns: int) -> str | None:
    """What the tick of this time and newest image still needs, in words; None where it can be answered."""
    if robot.joints_ns is None or robot.joints_ns < tick_ns:
        return "joint states"
    if robot.pose_ns is None or robot.pose_ns < tick_ns:
        return "the measured pose"
    if robot.gripper_ns is not None and robot.gripper_ns < tick_ns:
        return "the gripper's state"
    followed = FOLLOWED.get(state)
    if state is State.HOLDING and intake.track(Source.POLICY).heard and not intake.operator_in_control:
        # What it says next decides when the arm moves again: at a fixed instant, not at whichever its message happens to come.
        followed = Source.POLICY
    if followed is not None and not intake.track(followed).answered(observation_ns):
        return SOURCE_WORDS[list(Source).index(followed)]
    return None
