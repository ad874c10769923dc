"""What goes into the command guard and what comes out, without ROS. The numbers equal those of cdp_msgs (a test holds them together)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from cdp.geometry import FloatArray


class State(IntEnum):
    """What the guard is doing: cdp_msgs/GuardStatus STATE_*."""

    REFUSING = 0
    HOLDING = 1
    OPERATOR = 2
    POLICY = 3
    FAULT = 4
    RETREATING = 5
    RECOVERING = 6


class Reason(IntEnum):
    """Why: cdp_msgs/GuardStatus REASON_*."""

    NONE = 0
    NOT_ENGAGED = 1
    NO_SOURCE = 2
    SOURCE_STALE = 3
    CHUNK_EXHAUSTED = 4
    DEADMAN_RELEASED = 5
    STATE_STALE = 6
    NOT_FINITE = 7
    MALFORMED = 8
    WORKSPACE = 9
    TARGET_JUMP = 10
    JOINT_LIMIT = 11
    JOINT_VELOCITY = 12
    IK_FAILED = 13
    CLOCK = 14
    DISENGAGED = 15
    SELF_COLLISION = 16
    TABLE = 17
    OBSERVATION_STALE = 18
    RETREAT = 19
    RETREATED = 20
    RECOVERY = 21


class Source(IntEnum):
    """Who sends actions: cdp_msgs/ActionChunk SOURCE_*."""

    OPERATOR = 1
    POLICY = 2


class Space(IntEnum):
    """What a row of actions means: cdp_msgs/ActionChunk SPACE_*."""

    EEF_POSE = 1
    JOINT_POSITION = 2


@dataclass(frozen=True)
class Finding:
    """A check's complaint: the reason and, in words, what was found."""

    reason: Reason
    text: str


@dataclass(frozen=True, eq=False)
class ActionData:
    """cdp_msgs/ActionChunk as arrays. ``rows`` is (T, D) float64; T = 0 is a keep-alive. Plain numbers, as received: checked by the guard.

    ``authority``: the operator keeps the policy out, with the deadman released too.
    """

    source: int
    space: int
    frame_id: str
    sequence: int
    observation_stamp_ns: int
    start_stamp_ns: int
    dt_s: float
    rows: FloatArray
    next_within_s: float
    deadman: bool
    authority: bool = False


@dataclass(frozen=True, eq=False)
class GuardOutput:
    """One tick's answer. Where ``send`` is false nothing may be sent to the robot; the target fields are None while the guard is not engaged.

    ``position_m`` (3,), ``quat_xyzw`` (4,) in the base frame; ``q_rad``, ``dq_rad_s``, ``ddq_rad_s2`` (7,) with the joint interface, else None;
    ``gripper_width_m`` is None while unknown. ``limited``: a limit held the target back from what the source asked for.
    """

    state: State
    reason: Reason
    message: str
    send: bool
    limited: bool = False
    position_m: FloatArray | None = None
    quat_xyzw: FloatArray | None = None
    gripper_width_m: float | None = None
    q_rad: FloatArray | None = None
    dq_rad_s: FloatArray | None = None
    ddq_rad_s2: FloatArray | None = None
