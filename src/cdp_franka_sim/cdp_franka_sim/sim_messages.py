"""Between the simulator's plain states and the messages that the real robot would send."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from cdp_msgs.msg import TaskState
from geometry_msgs.msg import Pose, PoseStamped
from numpy.typing import ArrayLike, NDArray
from sensor_msgs.msg import CameraInfo, Image, JointState
from trajectory_msgs.msg import JointTrajectory

from cdp.geometry import FloatArray
from cdp_franka_sim import scene
from cdp_franka_sim.camera import Intrinsics
from cdp_franka_sim.physics import SimState, SimTaskState

BASE_FRAME = "fr3_link0"
# The same place: franka_ros2 stamps the measured pose with the root link of its URDF.
_POSE_FRAME = "base"


def joint_states(state: SimState, stamp: Time) -> JointState:
    """Positions, velocities and torques of the seven arm joints."""
    message = JointState(name=list(scene.ARM_JOINTS))
    message.header.stamp, message.header.frame_id = stamp, BASE_FRAME
    message.position, message.velocity, message.effort = state.q_rad.tolist(), state.dq_rad_s.tolist(), state.tau_nm.tolist()
    return message


def gripper_states(state: SimState, stamp: Time) -> JointState:
    """Each finger's way from the closed position [m]; their sum is the width."""
    message = JointState(name=list(scene.FINGER_JOINTS))
    message.header.stamp = stamp
    message.position, message.velocity, message.effort = [0.5 * state.gripper_width_m] * 2, [0.0, 0.0], [0.0, 0.0]
    return message


def eef_pose(state: SimState, stamp: Time) -> PoseStamped:
    """Measured fr3_hand_tcp in fr3_link0, under the name that franka_ros2 gives to it."""
    message = PoseStamped(pose=pose([*state.eef_position_m, *state.eef_quat_xyzw]))
    message.header.stamp, message.header.frame_id = stamp, _POSE_FRAME
    return message


def task_state(name: str, seed: int, episode: int, task: SimTaskState, state: SimState, stamp: Time) -> TaskState:
    """Ground truth of the task at the instant of an image."""
    message = TaskState(task=name, seed=seed, episode=episode, success=task.success, distance_m=task.distance_m)
    message.header.stamp, message.header.frame_id = stamp, BASE_FRAME
    message.object, message.goal = pose(task.object_pose), pose(task.goal_pose)
    message.eef = pose([*state.eef_position_m, *state.eef_quat_xyzw])
    return message


def image(rgb: NDArray[np.uint8], stamp: Time) -> Image:
    """rgb8 image of a picture (H, W, 3)."""
    height, width, _ = rgb.shape
    message = Image(height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width)
    message.header.stamp, message.header.frame_id = stamp, scene.CAMERA_FRAME
    message.data = rgb.tobytes()
    return message


def camera_info(camera: Intrinsics, stamp: Time) -> CameraInfo:
    """The pinhole model of the picture, without distortion."""
    message = CameraInfo(height=camera.height, width=camera.width, distortion_model="plumb_bob", d=[0.0] * 5)
    message.header.stamp, message.header.frame_id = stamp, scene.CAMERA_FRAME
    message.k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def pose_target(message: PoseStamped) -> tuple[FloatArray, FloatArray]:
    """Position (3,) [m] and quaternion (4,) xyzw of an equilibrium pose. Raises ValueError for another frame than fr3_link0."""
    if message.header.frame_id != BASE_FRAME:
        raise ValueError(f"equilibrium pose in frame {message.header.frame_id!r}, not {BASE_FRAME!r}")
    p, q = message.pose.position, message.pose.orientation
    return np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])


def joint_target(message: JointTrajectory) -> tuple[FloatArray, FloatArray]:
    """Positions (7,) [rad] and velocities (7,) [rad/s] of the first point, in the arm's order. Raises ValueError where one is missing."""
    if sorted(message.joint_names) != sorted(scene.ARM_JOINTS) or not message.points:
        raise ValueError(
            f"a joint trajectory needs a point for {', '.join(scene.ARM_JOINTS)}; it has {', '.join(message.joint_names) or 'no joints'}"
        )
    point = message.points[0]
    if len(point.positions) != 7 or len(point.velocities) != 7:
        raise ValueError("a joint trajectory point needs seven positions and seven velocities")
    order = [list(message.joint_names).index(name) for name in scene.ARM_JOINTS]
    return np.array([point.positions[i] for i in order]), np.array([point.velocities[i] for i in order])


def pose(values: ArrayLike) -> Pose:
    """Position and quaternion (7,) x y z [m] qx qy qz qw."""
    numbers = [float(v) for v in np.asarray(values, dtype=np.float64)]
    made = Pose()
    made.position.x, made.position.y, made.position.z = numbers[:3]
    made.orientation.x, made.orientation.y, made.orientation.z, made.orientation.w = numbers[3:]
    return made
