"""The simulated robot without ROS: targets in, time forward, states and pictures out.

    sim = FrankaSim(make_task("slide"), SimConfig())
    sim.reset(seed=3)
    sim.set_equilibrium_pose([0.4, 0.0, 0.2], [1.0, 0.0, 0.0, 0.0])
    sim.step(0.5)
    sim.state().eef_position_m, sim.task_state().success, sim.render()

One seed and one sequence of calls give one trajectory, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdp.actions import GRIPPER_MAX_WIDTH_M
from cdp.geometry import FloatArray, matrix_to_quat, matrix_to_rotvec
from cdp_franka_sim import scene
from cdp_franka_sim.camera import AgentCamera
from cdp_franka_sim.config import SimConfig
from cdp_franka_sim.controllers import CartesianImpedance, JointImpedance
from cdp_franka_sim.tasks import Start, Task
from cdp_franka_sim.tasks.judge import JUDGE_PERIOD_S, Judge

TORQUE_LIMIT_NM = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])

# Franka's ready pose: the inverse kinematics of an episode's start begins here.
READY_Q_RAD = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
HAND_DOWN = np.diag([1.0, -1.0, -1.0])

_NS = 1_000_000_000
# The controller's model is refreshed at the rate at which success is judged, that of commands, not at that of torques.
_SLOW_PERIOD_S = JUDGE_PERIOD_S
_SMALLEST_QUAT_NORM = 1e-6
_IK_ITERATIONS = 200
_IK_TOLERANCE = 1e-6
_IK_DAMPING = 1e-3
_IK_LARGEST_STEP_RAD = 0.2


@dataclass(frozen=True)
class SimState:
    """Measured state: joint positions, velocities and torques (7,); pose of fr3_hand_tcp in fr3_link0, quaternion xyzw; gripper opening [m]."""

    q_rad: FloatArray
    dq_rad_s: FloatArray
    tau_nm: FloatArray
    eef_position_m: FloatArray
    eef_quat_xyzw: FloatArray
    gripper_width_m: float
    stamp_ns: int


@dataclass(frozen=True)
class SimTaskState:
    """Ground truth of the task; poses (7,) x y z qx qy qz qw in fr3_link0. ``success`` is the simulator's verdict at this instant."""

    success: bool
    distance_m: float
    object_pose: FloatArray
    goal_pose: FloatArray


class FrankaSim:
    """FR3 with hand under torque control. The newest of ``set_equilibrium_pose`` and ``set_joint_target`` drives the arm; with none it holds."""

    def __init__(self, task: Task, config: SimConfig | None = None) -> None:
        """Builds the scene and resets it with seed 0. Raises :class:`cdp_franka_sim.assets.AssetError` when the arm's model is not installed."""
        self.task = task
        self._judge = Judge(task)
        self.config = config if config is not None else SimConfig()
        spec = scene.build_spec(self.config)
        task.add_to(spec)
        self.model: Any = spec.compile()
        self.data: Any = mujoco.MjData(self.model)
        self._dt_s = 1.0 / self.config.control_rate_hz
        self._slow_steps = self.config.control_rate_hz // round(1.0 / _SLOW_PERIOD_S)
        self._dt_ns = _NS // self.config.control_rate_hz
        self._q_index = np.array([self.model.joint(n).qposadr[0] for n in scene.ARM_JOINTS])
        self._v_index = np.array([self.model.joint(n).dofadr[0] for n in scene.ARM_JOINTS])
        self._finger_index = np.array([self.model.joint(n).qposadr[0] for n in scene.FINGER_JOINTS])
        self._site = int(self.model.site(scene.EEF_SITE).id)
        self._jacobian = np.zeros((6, self.model.nv))
        self._inertia = np.zeros((self.model.nv, self.model.nv))
        self._cartesian = CartesianImpedance(self.config.cartesian, self._dt_s)
        self._joint = JointImpedance(self.config.joint, self._dt_s)
        self._camera: AgentCamera | None = None
        self._time_ns = 0
        self.reset(0)

    @property
    def time_ns(self) -> int:
        """Simulated time since this object was made; a reset does not turn it back."""
        return self._time_ns

    def reset(self, seed: int) -> None:
        """Put arm and objects at the start poses that ``seed`` draws, at rest, and hold there. Raises ValueError for a negative seed."""
        if seed < 0:
            raise ValueError(f"seed: {seed} is negative; use 0 or more")
        mujoco.mj_resetData(self.model, self.data)
        self._place(self.task.reset(self.data, np.random.default_rng(seed)))
        self._torque = np.zeros(7)
        self._applied_nm = np.zeros(7)
        self._judge.begin()
        self._steps = 0
        mujoco.mj_forward(self.model, self.data)
        self._follow_joints = False
        self._cartesian.hold(*self._measured_pose_quat(), self.data.qpos[self._q_index])

    def set_equilibrium_pose(self, position_m: ArrayLike, quat_xyzw: ArrayLike) -> None:
        """Equilibrium of the Cartesian impedance: pose of fr3_hand_tcp in fr3_link0. Raises ValueError for a target that is not finite."""
        position = _finite(position_m, 3, "position")
        quat = _finite(quat_xyzw, 4, "quaternion")
        norm = float(np.linalg.norm(quat))
        if norm < _SMALLEST_QUAT_NORM:
            raise ValueError(f"quaternion: {quat.tolist()} is no rotation")
        if self._follow_joints:
            self._cartesian.hold(*self._measured_pose_quat(), self.data.qpos[self._q_index])
            self._follow_joints = False
        self._cartesian.set_target(position, quat[[3, 0, 1, 2]] / norm)

    def set_joint_target(self, q_rad: ArrayLike, dq_rad_s: ArrayLike) -> None:
        """Point of the joint impedance: positions (7,) and velocities (7,). Raises ValueError for a target that is not finite."""
        self._joint.set_target(_finite(q_rad, 7, "positions"), _finite(dq_rad_s, 7, "velocities"))
        self._follow_joints = True

    def set_gripper(self, width_m: float) -> None:
        """Opening to approach, clipped to [0, 0.08] m. Raises ValueError for a target that is not finite."""
        self._width_target_m = float(np.clip(_finite([width_m], 1, "width")[0], 0.0, GRIPPER_MAX_WIDTH_M))

    def step(self, duration_s: float) -> None:
        """Go on by ``duration_s`` of simulated time, rounded to whole control steps."""
        for _ in range(round(duration_s * self.config.control_rate_hz)):
            self._control_step()

    def state(self) -> SimState:
        """Measured state now."""
        position, rotation = self._measured_pose()
        return SimState(
            q_rad=self.data.qpos[self._q_index].copy(),
            dq_rad_s=self.data.qvel[self._v_index].copy(),
            tau_nm=self._applied_nm.copy(),
            eef_position_m=position.copy(),
            eef_quat_xyzw=_canonical(matrix_to_quat(rotation)),
            gripper_width_m=float(self.data.qpos[self._finger_index].sum()),
            stamp_ns=self._time_ns,
        )

    def task_state(self) -> SimTaskState:
        """Ground truth now; success when the task's condition has held without a break for its dwell time."""
        return SimTaskState(
            success=self._judge.success,
            distance_m=self.task.distance_m(self.data),
            object_pose=self.task.object_pose(self.data),
            goal_pose=self.task.goal_pose(self.data),
        )

    def positions(self) -> FloatArray:
        """Copy of all joint positions (nq,): what :meth:`AgentCamera.render` draws."""
        return np.array(self.data.qpos)

    def make_camera(self) -> AgentCamera:
        """A camera on this scene, to be made and used in the thread that renders."""
        return AgentCamera(self.model, self.config.camera.width, self.config.camera.height)

    def render(self) -> NDArray[np.uint8]:
        """Picture (height, width, 3) of the agent view now. Always call it from one thread."""
        if self._camera is None:
            self._camera = self.make_camera()
        return self._camera.render(self.data.qpos)

    def close(self) -> None:
        """Free the OpenGL context of :meth:`render`."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _measured_pose(self) -> tuple[FloatArray, FloatArray]:
        return self.data.site_xpos[self._site], self.data.site_xmat[self._site].reshape(3, 3)

    def _measured_pose_quat(self) -> tuple[FloatArray, FloatArray]:
        """Position (3,) and quaternion wxyz (4,)."""
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, self.data.site_xmat[self._site])
        return self.data.site_xpos[self._site], quat

    def _control_step(self) -> None:
        mujoco.mj_step1(self.model, self.data)
        q, dq = self.data.qpos[self._q_index], self.data.qvel[self._v_index]
        desired = self._joint.torque(q, dq) if self._follow_joints else self._cartesian_torque(q, dq)
        largest = self.config.torque_rate_nm_s * self._dt_s
        self._torque = self._torque + np.minimum(np.maximum(desired - self._torque, -largest), largest)
        self._applied_nm = np.minimum(np.maximum(self._torque + self.data.qfrc_bias[self._v_index], -TORQUE_LIMIT_NM), TORQUE_LIMIT_NM)
        self.data.ctrl[:7] = self._applied_nm
        stride = self.config.gripper.speed_m_s * self._dt_s
        self.data.ctrl[7] += min(max(self._width_target_m - self.data.ctrl[7], -stride), stride)
        mujoco.mj_step2(self.model, self.data)
        # Poses are those of the new positions, so that a state and its picture show one instant.
        mujoco.mj_kinematics(self.model, self.data)
        self._time_ns += self._dt_ns
        self._steps += 1
        if self._steps % self._slow_steps == 0:
            self._judge.look(self.data)

    def _cartesian_torque(self, q: FloatArray, dq: FloatArray) -> FloatArray:
        mujoco.mj_jacSite(self.model, self.data, self._jacobian[:3], self._jacobian[3:], self._site)
        jacobian = self._jacobian[:, self._v_index]
        if self._steps % self._slow_steps == 0:
            mujoco.mj_fullM(self.model, self.data, self._inertia)
            self._cartesian.update_model(jacobian, self._inertia[np.ix_(self._v_index, self._v_index)])
        return self._cartesian.torque(*self._measured_pose_quat(), jacobian, q, dq)

    def _place(self, start: Start) -> None:
        self._solve_ik(start.eef_position_m, HAND_DOWN)
        self.data.qpos[self._finger_index] = 0.5 * start.gripper_width_m
        self._width_target_m = start.gripper_width_m
        self.data.ctrl[7] = start.gripper_width_m

    def _solve_ik(self, position_m: FloatArray, rotation: FloatArray) -> None:
        """Damped least squares from the ready pose, within the joint limits. Raises ValueError when the pose is out of reach."""
        low, high = np.array([self.model.joint(n).range for n in scene.ARM_JOINTS]).T
        q = READY_Q_RAD.copy()
        for _ in range(_IK_ITERATIONS):
            self.data.qpos[self._q_index] = q
            mujoco.mj_kinematics(self.model, self.data)
            mujoco.mj_comPos(self.model, self.data)
            measured, measured_rotation = self._measured_pose()
            error = np.concatenate([position_m - measured, matrix_to_rotvec(rotation @ measured_rotation.T)])
            if np.linalg.norm(error) < _IK_TOLERANCE:
                return
            mujoco.mj_jacSite(self.model, self.data, self._jacobian[:3], self._jacobian[3:], self._site)
            jacobian = self._jacobian[:, self._v_index]
            step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + _IK_DAMPING * np.eye(6), error)
            largest = float(np.abs(step).max())
            q = np.clip(q + step * min(1.0, _IK_LARGEST_STEP_RAD / largest), low, high)
        raise ValueError(f"no joint positions reach the start position {np.round(position_m, 3).tolist()} m")


def _canonical(quat_xyzw: FloatArray) -> FloatArray:
    """Of the two quaternions of a rotation, the one whose largest component is positive: with the hand down, w is near 0 and its sign is noise."""
    return quat_xyzw if quat_xyzw[np.abs(quat_xyzw).argmax()] > 0.0 else -quat_xyzw


def _finite(values: ArrayLike, size: int, what: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (size,) or not np.all(np.isfinite(array)):
        raise ValueError(f"{what}: {array.tolist()!r} is not {size} finite numbers")
    return array
