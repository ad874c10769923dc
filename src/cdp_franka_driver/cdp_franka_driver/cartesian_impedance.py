"""Cartesian impedance at ``fr3_hand_tcp``: the torque law of the 1 kHz loop for poses. What a law gets is said in :mod:`joint_impedance`.

As in Khatib 1987, and in this repository's simulator: wrench = K e + D (v_ref - J dq) + L a_ref, with D critical for the inertia L at the end
effector, and a spring towards the posture at the start through the dynamically consistent null-space projector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cdp_franka_driver import algebra
from cdp_franka_driver.layout import DURATION, LINEAR, NUMBER, POSE_SIZE, POSITION, QUAT
from cdp_franka_driver.reference import Jit, make_duration, make_reference

# Keeps the inertia at the end effector finite at a singular pose [1/kg].
REGULARISATION = 1e-3
PARAMETERS = {
    "pose": POSE_SIZE,
    "tcp": (4, 4),
    "pose_stiffness": 6,
    "damping_ratio": 1,
    "posture_stiffness": 1,
    "leash_m": 1,
    "twist_limit": 6,
    "twist_acceleration": 6,
    "twist_deceleration": 6,
    "coast_s": 1,
}
# x: position, then the rotation vector since ``origin``; work and low are scratch.
MEMORY = {
    **{name: 1 for name in ("started", "clock", "t", "duration")},
    **{name: 6 for name in ("x0", "dx0", "ddx0", "x1", "x", "dx", "ddx", "wrench", "column")},
    **{"row": POSE_SIZE, "origin": 4, "quat": 4, "posture": 7, "pull": 7, "column7": 7, "ee": (4, 4), "jac": (6, 7), "minv_jt": (7, 6)},
    **{"low7": (7, 7), "low6": (6, 6), "work": (6, 6), "inertia": (6, 6)},
}


def make_law(jit: Jit) -> Callable[[Any, Any, Any, Any], None]:  # noqa: C901 - loops instead of matrix products
    """The law; ``jit`` compiles what it calls."""
    reference, duration = make_reference(jit), make_duration(jit)
    cholesky, solve = jit(algebra.cholesky), jit(algebra.solve)
    turned, turn_to, quaternion = jit(algebra.turned), jit(algebra.turn_to), jit(algebra.quaternion)

    def follow(s: Any, p: Any, m: Any) -> None:
        """Advance the reference x, dx, ddx and its quaternion."""
        if m.started[0] == 0.0:
            m.started[0], m.clock[0], m.row[NUMBER] = 1.0, s.time, p.pose[NUMBER]
            quaternion(m.ee, m.origin)
            for i in range(3):
                m.x[i] = m.ee[i, 3]
            for i in range(7):
                m.posture[i] = s.qpos[i]
        m.t[0] += s.time - m.clock[0]
        m.clock[0] = s.time
        if m.duration[0] > 0.0:
            for i in range(6):
                m.x[i], m.dx[i], m.ddx[i] = reference(
                    m.x0[i],
                    m.dx0[i],
                    m.ddx0[i],
                    m.x1[i],
                    m.row[LINEAR + i],
                    0.0,
                    m.duration[0],
                    p.coast_s[0],
                    p.twist_deceleration[i],
                    m.t[0],
                )
        turned(m.x[3:], m.origin, m.quat)
        if p.pose[NUMBER] != m.row[NUMBER]:
            for i in range(POSE_SIZE):
                m.row[i] = p.pose[i]
            # Turns are counted from here on, where the reference's rotation vector is zero.
            for i in range(4):
                m.origin[i] = m.quat[i]
            turn_to(m.row[QUAT : QUAT + 4], m.origin, m.x1[3:])
            m.t[0], m.duration[0] = 0.0, m.row[DURATION]
            for i in range(3):
                m.x1[i], m.x[3 + i] = m.row[POSITION + i], 0.0
            for i in range(6):
                m.x0[i], m.dx0[i], m.ddx0[i] = m.x[i], m.dx[i], m.ddx[i]
            for i in range(6):
                m.duration[0] = duration(
                    m.x0[i],
                    m.dx0[i],
                    m.ddx0[i],
                    m.x1[i],
                    m.row[LINEAR + i],
                    0.0,
                    m.duration[0],
                    p.twist_limit[i],
                    p.twist_acceleration[i],
                )

    def model(s: Any, p: Any, m: Any) -> None:  # noqa: C901
        """Pose and Jacobian of the tool centre point, the inertia there, and the inertia-weighted transpose."""
        for i in range(3):
            for j in range(4):
                m.ee[i, j] = s.ee[i, 3] if j == 3 else 0.0
                for k in range(3):
                    m.ee[i, j] += s.ee[i, k] * p.tcp[k, j]
        dx, dy, dz = m.ee[0, 3] - s.ee[0, 3], m.ee[1, 3] - s.ee[1, 3], m.ee[2, 3] - s.ee[2, 3]
        for j in range(7):
            ax, ay, az = s.jac[3, j], s.jac[4, j], s.jac[5, j]
            m.jac[0, j] = s.jac[0, j] + ay * dz - az * dy
            m.jac[1, j] = s.jac[1, j] + az * dx - ax * dz
            m.jac[2, j] = s.jac[2, j] + ax * dy - ay * dx
            m.jac[3, j], m.jac[4, j], m.jac[5, j] = ax, ay, az
        cholesky(s.mm, 7, m.low7)
        for i in range(6):
            for j in range(7):
                m.column7[j] = m.jac[i, j]
            solve(m.low7, 7, m.column7)
            for j in range(7):
                m.minv_jt[j, i] = m.column7[j]
        for i in range(6):
            for j in range(6):
                m.work[i, j] = REGULARISATION if i == j else 0.0
                for k in range(7):
                    m.work[i, j] += m.jac[i, k] * m.minv_jt[k, j]
        cholesky(m.work, 6, m.low6)
        for i in range(6):
            for j in range(6):
                m.column[j] = 1.0 if i == j else 0.0
            solve(m.low6, 6, m.column)
            for j in range(6):
                m.inertia[j, i] = m.column[j]

    def error(p: Any, m: Any) -> None:
        """Reference less measured pose (6,), into ``column``; the position's part is at most the leash."""
        w, x, y, z = m.quat[0], m.quat[1], m.quat[2], m.quat[3]
        # Columns of the reference's rotation; their cross products with the measured ones add up to twice the sine of the angle between.
        columns = (
            (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
            (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
            (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
        )
        for i in range(3):
            m.column[i], m.column[3 + i] = m.x[i] - m.ee[i, 3], 0.0
        for k in range(3):
            ax, ay, az = m.ee[0, k], m.ee[1, k], m.ee[2, k]
            bx, by, bz = columns[k]
            m.column[3] += 0.5 * (ay * bz - az * by)
            m.column[4] += 0.5 * (az * bx - ax * bz)
            m.column[5] += 0.5 * (ax * by - ay * bx)
        length = math.sqrt(m.column[0] ** 2 + m.column[1] ** 2 + m.column[2] ** 2)
        if length > p.leash_m[0]:
            for i in range(3):
                m.column[i] *= p.leash_m[0] / length

    follow, model, error = jit(follow), jit(model), jit(error)

    def cartesian_impedance(s: Any, p: Any, m: Any, tau: Any) -> None:
        model(s, p, m)
        follow(s, p, m)
        error(p, m)
        for i in range(6):
            speed = m.dx[i]
            for j in range(7):
                speed -= m.jac[i, j] * s.qvel[j]
            damping = 2.0 * p.damping_ratio[0] * math.sqrt(p.pose_stiffness[i] * m.inertia[i, i])
            m.wrench[i] = p.pose_stiffness[i] * m.column[i] + damping * speed
            for j in range(6):
                m.wrench[i] += m.inertia[i, j] * m.ddx[j]
        stiffness = p.posture_stiffness[0]
        for j in range(7):
            m.pull[j] = stiffness * (m.posture[j] - s.qpos[j]) - 2.0 * math.sqrt(stiffness) * s.qvel[j]
        # What the pull would do at the end effector is taken out of the wrench.
        for i in range(6):
            m.column[i] = 0.0
            for j in range(7):
                m.column[i] += m.minv_jt[j, i] * m.pull[j]
        for i in range(6):
            for j in range(6):
                m.wrench[i] -= m.inertia[i, j] * m.column[j]
        for j in range(7):
            tau[j] = m.pull[j]
            for i in range(6):
                tau[j] += m.jac[i, j] * m.wrench[i]

    return cartesian_impedance
