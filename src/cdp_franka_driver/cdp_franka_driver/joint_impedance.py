"""Joint impedance: the torque law of the 1 kHz loop for joint targets, gravity excepted, which the robot adds.

A law gets the state ``s`` (qpos, qvel, mm (7, 7), time), the parameters ``p``, its memory ``m``, zeroed when it is selected, and the torques ``tau``
(7,) to fill; all of them plain loops over floats, which Numba compiles into a C function that the loop calls without Python. Tests call it as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdp_franka_driver.layout import DDQ, DQ, DURATION, JOINT_SIZE, NUMBER, Q
from cdp_franka_driver.reference import Jit, make_duration, make_reference

PARAMETERS = {"target": JOINT_SIZE, "stiffness": 7, "damping": 7, "speed_limit": 7, "acceleration_limit": 7, "deceleration": 7, "coast_s": 1}
MEMORY = {"started": 1, "clock": 1, "t": 1, "duration": 1, "q0": 7, "dq0": 7, "ddq0": 7, "q": 7, "dq": 7, "ddq": 7, "row": JOINT_SIZE}


def make_law(jit: Jit) -> Callable[[Any, Any, Any, Any], None]:
    """The law; ``jit`` compiles what it calls."""
    reference, duration = make_reference(jit), make_duration(jit)

    def joint_impedance(s: Any, p: Any, m: Any, tau: Any) -> None:
        if m.started[0] == 0.0:
            # Where the arm is, at rest; a target from before does not count.
            m.started[0], m.clock[0], m.row[NUMBER] = 1.0, s.time, p.target[NUMBER]
            for i in range(7):
                m.q[i] = s.qpos[i]
        m.t[0] += s.time - m.clock[0]
        m.clock[0] = s.time
        if m.duration[0] > 0.0:
            for i in range(7):
                m.q[i], m.dq[i], m.ddq[i] = reference(
                    m.q0[i],
                    m.dq0[i],
                    m.ddq0[i],
                    m.row[Q + i],
                    m.row[DQ + i],
                    m.row[DDQ + i],
                    m.duration[0],
                    p.coast_s[0],
                    p.deceleration[i],
                    m.t[0],
                )
        if p.target[NUMBER] != m.row[NUMBER]:
            for i in range(JOINT_SIZE):
                m.row[i] = p.target[i]
            m.t[0], m.duration[0] = 0.0, m.row[DURATION]
            for i in range(7):
                m.q0[i], m.dq0[i], m.ddq0[i] = m.q[i], m.dq[i], m.ddq[i]
            for i in range(7):
                m.duration[0] = duration(
                    m.q0[i],
                    m.dq0[i],
                    m.ddq0[i],
                    m.row[Q + i],
                    m.row[DQ + i],
                    m.row[DDQ + i],
                    m.duration[0],
                    p.speed_limit[i],
                    p.acceleration_limit[i],
                )
        for i in range(7):
            tau[i] = p.stiffness[i] * (m.q[i] - s.qpos[i]) + p.damping[i] * (m.dq[i] - s.qvel[i])
            for j in range(7):
                tau[i] += s.mm[i, j] * m.ddq[j]

    return joint_impedance
