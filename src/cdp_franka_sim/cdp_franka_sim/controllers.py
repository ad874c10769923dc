"""Torque laws of the simulated arm: arrays in, joint torques out. Gravity and Coriolis torques are added by the caller.

Cartesian impedance follows the structure of Franka's cartesian_impedance_example_controller: a spring and damper between the end effector and a
low-pass filtered equilibrium pose, and a posture spring in the null space. Two things are done better than there: the damping is critical for
the arm's actual inertia, and the null space is dynamically consistent (Khatib 1987), so that posture never pushes at the end effector.
"""

from __future__ import annotations

import math

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from cdp.geometry import FloatArray
from cdp_franka_sim.config import CartesianImpedanceConfig, JointImpedanceConfig

# Keeps the operational-space inertia finite at a singular pose [1/kg].
_SINGULARITY_REGULARISATION = 1e-3


class CartesianImpedance:
    """Holds the equilibrium pose and its filter; :meth:`torque` is called once per control step."""

    def __init__(self, config: CartesianImpedanceConfig, dt_s: float) -> None:
        self._config = config
        self._dt_s = dt_s
        self._rotvec = np.zeros(3)
        self._damping = np.zeros(6)
        self._nullspace = np.zeros((7, 7))
        self._gain = 1.0 if config.target_filter_s <= 0.0 else 1.0 - float(np.exp(-dt_s / config.target_filter_s))
        self._stiffness = np.array([config.translational_stiffness_n_m] * 3 + [config.rotational_stiffness_nm_rad] * 3)
        self.hold(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]), np.zeros(7))

    def hold(self, position_m: FloatArray, quat_wxyz: FloatArray, q_rad: FloatArray) -> None:
        """Make the pose, position (3,) and quaternion wxyz (4,), the equilibrium at once, and ``q_rad`` (7,) the posture of the null space."""
        self._position, self._quat = position_m.copy(), quat_wxyz.copy()
        self._target_position, self._target_quat = position_m.copy(), quat_wxyz.copy()
        self._posture = q_rad.copy()

    def set_target(self, position_m: FloatArray, quat_wxyz: FloatArray) -> None:
        """Equilibrium pose that the filter approaches: position (3,) [m], unit quaternion wxyz (4,)."""
        self._target_position, self._target_quat = position_m.copy(), quat_wxyz.copy()

    def _rotation_vector(self, to_quat: FloatArray, from_quat: FloatArray) -> FloatArray:
        """Rotation (3,) [rad] in the base frame that takes ``from_quat`` to ``to_quat``. MuJoCo's C code: this runs at the control rate."""
        world = np.empty(3)
        mujoco.mju_subQuat(self._rotvec, to_quat, from_quat)
        mujoco.mju_rotVecQuat(world, self._rotvec, from_quat)
        return world

    def _advance_filter(self) -> FloatArray:
        """One step of the filter; returns the twist (6,) of the filtered pose."""
        linear = self._gain * (self._target_position - self._position)
        angular = self._gain * self._rotation_vector(self._target_quat, self._quat)
        self._position = self._position + linear
        mujoco.mju_quatIntegrate(self._quat, self._gain * self._rotvec, 1.0)
        return np.concatenate([linear, angular]) / self._dt_s

    def update_model(self, jacobian: FloatArray, inertia: FloatArray) -> None:
        """Damping and null-space projector for the present pose, from the Jacobian (6, 7) and the joint-space inertia (7, 7).

        They change slowly with the pose: once per command period is enough.
        """
        weighted = np.linalg.solve(inertia, jacobian.T)
        task_inertia = np.linalg.inv(jacobian @ weighted + _SINGULARITY_REGULARISATION * np.eye(6))
        self._damping = 2.0 * self._config.damping_ratio * np.sqrt(self._stiffness * np.diag(task_inertia))
        self._nullspace = np.eye(7) - jacobian.T @ task_inertia @ weighted.T

    def torque(self, position_m: FloatArray, quat_wxyz: FloatArray, jacobian: FloatArray, q_rad: FloatArray, dq_rad_s: FloatArray) -> FloatArray:
        """Joint torques (7,) [Nm] at a measured pose, with the Jacobian (6, 7) of the end effector. Needs :meth:`update_model` once before."""
        config = self._config
        twist_target = self._advance_filter()
        error = np.concatenate([self._position - position_m, self._rotation_vector(self._quat, quat_wxyz)])
        length = math.sqrt(error[:3] @ error[:3])
        if length > config.max_position_error_m:
            error[:3] *= config.max_position_error_m / length
        wrench = self._stiffness * error + self._damping * (twist_target - jacobian @ dq_rad_s)
        stiffness = config.nullspace_stiffness_nm_rad
        posture = stiffness * (self._posture - q_rad) - 2.0 * math.sqrt(stiffness) * dq_rad_s
        return np.asarray(jacobian.T @ wrench + self._nullspace @ posture)


class JointImpedance:
    """Follows trajectory points: a joint spring and damper around the newest point, carried on by its velocity for a moment."""

    def __init__(self, config: JointImpedanceConfig, dt_s: float) -> None:
        self._config = config
        self._dt_s = dt_s
        self._stiffness = np.asarray(config.stiffness_nm_rad)
        self._damping = np.asarray(config.damping_nms_rad)
        self.hold(np.zeros(7))

    def hold(self, q_rad: FloatArray) -> None:
        """Make ``q_rad`` (7,) the point, at rest."""
        self.set_target(q_rad, np.zeros(7))

    def set_target(self, q_rad: ArrayLike, dq_rad_s: ArrayLike) -> None:
        """Point to follow from now: positions (7,) and velocities (7,)."""
        self._q, self._dq = np.array(q_rad, dtype=np.float64), np.array(dq_rad_s, dtype=np.float64)
        self._age_s = 0.0

    def torque(self, q_rad: FloatArray, dq_rad_s: FloatArray) -> FloatArray:
        """Joint torques (7,) [Nm]."""
        velocity = self._dq if self._age_s < self._config.extrapolate_s else np.zeros(7)
        target = self._q + self._dq * min(self._age_s, self._config.extrapolate_s)
        self._age_s += self._dt_s
        return np.asarray(self._stiffness * (target - q_rad) + self._damping * (velocity - dq_rad_s))
