"""A guard on a bench: a perfect arm that is where it was commanded, time in milliseconds, actions in one line."""

from __future__ import annotations

import numpy as np

from cdp.actions import eef_row
from cdp.geometry import matrix_to_quat, quat_to_matrix
from cdp_franka.guard import GuardCore
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import ActionData, Source, Space
from cdp_franka.kinematics import forward, joint_velocity, pose_error

MS = 1_000_000
Q = np.array([0.0, -0.2, 0.0, -2.3, 0.0, 2.1, np.pi / 4])
POSITION, ROTATION = forward(Q)
QUAT = matrix_to_quat(ROTATION)
START_MS = 100_000


class Bench:
    def __init__(self, **settings):
        self.config = GuardConfig(**settings)
        self.guard = GuardCore(self.config)
        self.now_ms = START_MS
        self.sequence = 0
        self.outputs = []
        self.measured = (POSITION, QUAT)
        self.q = Q

    @property
    def now_ns(self):
        return self.now_ms * MS

    def sense(self):
        self.guard.on_joints(self.now_ns, self.q, np.zeros(7))
        self.guard.on_pose(self.now_ns, *self.measured)
        self.guard.on_gripper(self.now_ns, 0.06)

    def engaged(self):
        self.sense()
        ok, message = self.guard.engage(self.now_ns)
        assert ok, message
        return self

    def re_engaged(self):
        """Engages again from where the arm is, its joint angles solved to agree with its pose."""
        position, rotation = np.asarray(self.measured[0]), quat_to_matrix(self.measured[1])
        for _ in range(60):
            self.q = self.q + joint_velocity(self.q, 0.3 * pose_error(*forward(self.q), position, rotation), 0.02, Q, 0.0)
        return self.engaged()

    def run(self, milliseconds, *, step_ms=10, sense=True, follow=True):
        """Ticks; the arm follows the command perfectly. Returns the last output."""
        for _ in range(milliseconds // step_ms):
            self.now_ms += step_ms
            if sense:
                self.sense()
            out = self.guard.tick(self.now_ns)
            self.outputs.append(out)
            if out.send and follow:
                self.measured = (out.position_m, out.quat_xyzw)
        return self.outputs[-1]

    def act(self, position, *, source=Source.POLICY, quat=QUAT, width=0.05, dt_s=0.1, **changes):
        """Sends rows towards ``position`` ((3,) or (T, 3)) that answer an observation of now."""
        rows = np.atleast_2d(np.asarray(position, dtype=float))
        rows = eef_row(rows, np.broadcast_to(quat, (len(rows), 4)), np.full(len(rows), width)) if rows.shape[-1] == 3 else rows
        self.sequence += 1
        fields = {
            "source": source,
            "space": Space.EEF_POSE,
            "frame_id": "fr3_link0",
            "sequence": self.sequence,
            "observation_stamp_ns": self.now_ns,
            "start_stamp_ns": self.now_ns + round(dt_s * 1e9),
            "dt_s": dt_s,
            "rows": rows,
            "next_within_s": 0.1,
            "deadman": True,
        }
        self.guard.on_action(ActionData(**{**fields, **changes}), self.now_ns)

    def stream(self, position, milliseconds, **changes):
        """One action every 100 ms; returns the last output."""
        for _ in range(milliseconds // 100):
            self.act(position, **changes)
            self.run(100)
        return self.outputs[-1]

    def keep_alive(self, **changes):
        self.act(np.zeros((0, 10)), **changes)
