"""Between ROS messages and the guard core's plain data."""

from __future__ import annotations

import math

import numpy as np
from cdp_msgs.msg import ActionChunk, GripperCommand, GuardStatus
from cdp_ros.stamps import ns_to_stamp, stamp_to_ns
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Pose
from sensor_msgs.msg import JointState

from cdp_franka.guard import GuardCore
from cdp_franka.guard_types import ActionData, GuardOutput, State


def action_data(msg: ActionChunk) -> ActionData:
    """The message's content. Rows whose count contradicts horizon and width become (1, count), which the guard refuses as malformed."""
    numbers = np.array(msg.actions, dtype=np.float64)
    shape = (msg.horizon, msg.width) if len(numbers) == msg.horizon * msg.width else (1, len(numbers))
    return ActionData(
        source=msg.source,
        space=msg.space,
        frame_id=msg.header.frame_id,
        sequence=msg.sequence,
        observation_stamp_ns=stamp_to_ns(msg.observation_stamp),
        start_stamp_ns=stamp_to_ns(msg.start_stamp),
        dt_s=msg.dt_s,
        rows=numbers.reshape(shape),
        next_within_s=msg.next_within_s,
        deadman=msg.deadman,
        authority=msg.authority,
    )


def joint_values(msg: JointState, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Positions and velocities in the order of ``names``; None where the message is of other joints or lacks velocities."""
    index = {name: i for i, name in enumerate(msg.name)}
    if not all(name in index for name in names) or len(msg.position) < len(msg.name) or len(msg.velocity) < len(msg.name):
        return None
    order = [index[name] for name in names]
    return np.array([msg.position[i] for i in order]), np.array([msg.velocity[i] for i in order])


def gripper_width_m(msg: JointState) -> float | None:
    """Sum of the finger joints; None where there are none."""
    fingers = [p for name, p in zip(msg.name, msg.position, strict=False) if "finger_joint" in name]
    return float(sum(fingers)) if len(fingers) == 2 else None


def pose_msg(out: GuardOutput) -> Pose:
    """The commanded pose; identity where nothing is commanded."""
    pose = Pose()
    if out.position_m is not None and out.quat_xyzw is not None:
        pose.position.x, pose.position.y, pose.position.z = (float(v) for v in out.position_m)
        pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = (float(v) for v in out.quat_xyzw)
    return pose


def gripper_command(width_m: float, effort_n: float, now_ns: int) -> GripperCommand:
    """Width target."""
    msg = GripperCommand(width_m=width_m, max_effort_n=effort_n)
    msg.header.stamp = ns_to_stamp(now_ns)
    return msg


def status_msg(out: GuardOutput, guard: GuardCore, now_ns: int, command_ns: int, gripper_command_ns: int) -> GuardStatus:
    """What the guard does and why; the gripper's width is NaN while unknown."""
    msg = GuardStatus(state=int(out.state), reason=int(out.reason), message=out.message)
    msg.header.stamp, msg.header.frame_id = ns_to_stamp(now_ns), guard.config.base_frame
    msg.command_stamp, msg.gripper_command_stamp = ns_to_stamp(command_ns), ns_to_stamp(gripper_command_ns)
    msg.target = pose_msg(out)
    msg.target_gripper_width_m = math.nan if out.gripper_width_m is None else out.gripper_width_m
    msg.limited_ticks, msg.rejected_actions = guard.limited_ticks, guard.rejected_actions
    return msg


def diagnostics_msg(out: GuardOutput, guard: GuardCore, now_ns: int, counts: dict[str, int]) -> DiagnosticArray:
    """The guard's health: OK while it follows or refuses by intent, WARN while it holds, ERROR in a fault."""
    warn = DiagnosticStatus.WARN
    levels = {State.HOLDING: warn, State.RETREATING: warn, State.RECOVERING: warn, State.FAULT: DiagnosticStatus.ERROR}
    status = DiagnosticStatus(name="cdp_guard", hardware_id=guard.config.robot, level=levels.get(out.state, DiagnosticStatus.OK), message=out.message)
    facts = {"state": out.state.name, "reason": out.reason.name, **{k: str(v) for k, v in counts.items()}}
    status.values = [KeyValue(key=k, value=v) for k, v in facts.items()]
    msg = DiagnosticArray(status=[status])
    msg.header.stamp = ns_to_stamp(now_ns)
    return msg
