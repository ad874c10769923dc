"""Between the driver's plain data and the messages of franka_ros2."""

from __future__ import annotations

import numpy as np
from cdp_ros.stamps import ns_to_stamp
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from cdp.geometry import FloatArray
from cdp_franka_driver.arm import ArmState
from cdp_franka_driver.supervisor import Phase, Report
from cdp_franka_driver.targets import RefusedError


def joint_states(state: ArmState, names: tuple[str, ...], frame: str) -> JointState:
    """What is measured at the joints."""
    msg = JointState(name=list(names), position=state.q_rad.tolist(), velocity=state.dq_rad_s.tolist(), effort=state.tau_nm.tolist())
    msg.header.stamp, msg.header.frame_id = ns_to_stamp(state.stamp_ns), frame
    return msg


def pose(position_m: FloatArray, quat_wxyz: FloatArray, stamp_ns: int, frame: str) -> PoseStamped:
    """A pose (3,), (4,)."""
    msg = PoseStamped()
    msg.header.stamp, msg.header.frame_id = ns_to_stamp(stamp_ns), frame
    point, turn = msg.pose.position, msg.pose.orientation
    point.x, point.y, point.z = (float(v) for v in position_m)
    turn.w, turn.x, turn.y, turn.z = (float(v) for v in quat_wxyz)
    return msg


def trajectory_point(msg: JointTrajectory, names: tuple[str, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Positions, velocities and accelerations (7,) of the last point in the arm's order; what is left out is zero. Raises RefusedError."""
    if sorted(msg.joint_names) != sorted(names) or not msg.points:
        raise RefusedError(f"it needs a point for {', '.join(names)}; it has {', '.join(msg.joint_names) or 'no joints'}")
    order = [list(msg.joint_names).index(name) for name in names]
    point = msg.points[-1]
    rows = []
    for values in (point.positions, point.velocities, point.accelerations):
        if len(values) not in (0, len(names)) or (values is point.positions and not values):
            raise RefusedError(f"its point has {len(values)} values for {len(names)} joints")
        rows.append(np.array([values[i] for i in order]) if len(values) else np.zeros(len(names)))
    return rows[0], rows[1], rows[2]


def pose_target(msg: PoseStamped, frame: str) -> tuple[FloatArray, FloatArray]:
    """Position (3,) and quaternion wxyz (4,). Raises RefusedError for another frame than ``frame``."""
    if msg.header.frame_id != frame:
        raise RefusedError(f"its frame is {msg.header.frame_id!r}, not {frame!r}")
    point, turn = msg.pose.position, msg.pose.orientation
    return np.array([point.x, point.y, point.z]), np.array([turn.w, turn.x, turn.y, turn.z])


def status(name: str, robot_ip: str, report: Report, state: ArmState | None, counts: dict[str, str]) -> DiagnosticStatus:
    """OK under control, WARN while it waits for the robot or the network, ERROR in a reflex or with something to be done."""
    level, message = DiagnosticStatus.OK, "under control"
    if report.phase is not Phase.CONTROLLING:
        level = DiagnosticStatus.WARN if report.problem is None else DiagnosticStatus.ERROR
        message = str(report.problem) if report.problem is not None else report.phase.value
    facts = {"phase": report.phase.value, "problem": report.problem.kind.value if report.problem else "", "reflexes": ""}
    if report.problem is not None:
        facts["reflexes"] = ", ".join(report.problem.reflexes)
    if state is not None:
        facts |= {
            "robot_mode": state.mode.value,
            "robot_time_s": f"{state.robot_time_s:.3f}",
            "errors": ", ".join(state.errors),
            "last_motion_errors": ", ".join(state.last_errors),
            "control_command_success_rate": f"{state.success_rate:.3f}",
            "scheduling_refused": state.scheduling,
        }
    values = [KeyValue(key=key, value=value) for key, value in {**facts, **counts}.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=robot_ip, values=values)


def array(found: DiagnosticStatus, stamp_ns: int) -> DiagnosticArray:
    """One status for ``/diagnostics``."""
    msg = DiagnosticArray(status=[found])
    msg.header.stamp = ns_to_stamp(stamp_ns)
    return msg
