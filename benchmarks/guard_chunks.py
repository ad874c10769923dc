"""Chunks of every good and bad kind, from both sources, in any order and at any time, and an arm that goes where it is told.

Most chunks are feasible or nearly so and are followed. One in four is of a kind of ``KINDS``. They come alone, several before one tick, and after
silences; the clock jumps now and then, and so does what is measured. All draws are from one generator: a seed says everything.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import numpy as np

from cdp.geometry import matrix_to_quat
from cdp_franka.guard import GuardCore
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import ActionData, GuardOutput, Source, Space, State
from cdp_franka.kinematics import forward, joint_velocity, pose_error
from cdp_franka.rotation import matrix_of, turn_between

NS = 1_000_000_000
HOME = np.array([0.2, -0.2, 0.0, -2.3, 0.0, 2.1, np.pi / 4])
UPRIGHT = forward(HOME)[1]
MIRRORED = HOME * np.array([-1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
# Shorter ticks are possible; below this the rounding of a position, 1e-16 m, is seen in a third difference.
SHORTEST_S = 1e-3
# A bound of 0.0 m counts like any other: on each axis, as the lower and as the upper one.
WORKSPACES: tuple[dict[str, tuple[float, float]], ...] = (
    {},
    {"workspace_y_m": (0.0, 0.4), "workspace_z_m": (0.0, 0.6)},
    {"workspace_y_m": (-0.4, 0.0)},
    {"workspace_x_m": (0.0, 0.75)},
)
# Refused for their numbers; for their times; for their form; followed, or nearly.
NUMBERS = ("nan", "inf", "huge", "degenerate", "width")
TIMES = ("old", "older", "future", "huge_dt", "zero_dt", "nan_dt", "negative_dt", "far_start", "promise", "nan_promise", "no_stamp")
FORMS = ("frame", "joint_space", "source", "narrow", "wide", "flat", "cube", "longer")
ODD = ("jump", "outside", "wall", "denormal", "unnormalised", "repeated", "late", "past", "empty", "long", "released", "authority")
KINDS = (*NUMBERS, *TIMES, *FORMS, *ODD)
# Each of these latches a fault and so costs an engage.
_COSTLY = ("nan", "inf", "outside")
_CHANGES: dict[str, dict[str, Any]] = {
    "huge_dt": {"dt_s": 1e9},
    "zero_dt": {"dt_s": 0.0},
    "nan_dt": {"dt_s": float("nan")},
    "negative_dt": {"dt_s": -0.1},
    "promise": {"next_within_s": 1e300},
    "nan_promise": {"next_within_s": float("nan")},
    "no_stamp": {"observation_stamp_ns": 0},
    "far_start": {"start_stamp_ns": 1 << 62},
    "frame": {"frame_id": "world"},
    "joint_space": {"space": Space.JOINT_POSITION},
    "source": {"source": 3},
    "released": {"deadman": False},
    "authority": {"deadman": False, "authority": True},
}
_SHAPES = {"narrow": (2, 9), "wide": (2, 11), "flat": (10,), "cube": (2, 2, 10), "longer": (1025, 10), "joint_space": (2, 8)}


def about(rate: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Rotation matrices (T, 3, 3) after ``times`` (T,) of turning at ``rate`` (3,), by Rodrigues' formula."""
    x, y, z = rate / max(float(np.linalg.norm(rate)), 1e-9)
    angles = (float(np.linalg.norm(rate)) * times)[:, None, None]
    axis = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angles) * axis + (1.0 - np.cos(angles)) * (axis @ axis)


class Bench:
    """A guard, an arm that is where it was commanded, some ticks ago for every third, and random sources."""

    def __init__(self, block: int, seed: int) -> None:
        """``block`` says which interface and workspace, and with ``seed`` what is drawn."""
        self.config = GuardConfig(command_interface=("cartesian", "joint")[block % 2], **WORKSPACES[block // 2 % len(WORKSPACES)])
        self.guard, self.box = GuardCore(self.config), self.config.box
        self.rng = np.random.default_rng([seed, block])
        self.now_ns = 100 * NS
        self.counts: Counter[str] = Counter()
        self.source = Source.POLICY
        self.ticks = self.observed_ns = 0
        self.velocity, self.turning, self.pace = np.zeros(3), np.zeros(3), 0.1
        self.aim = 0.5 * (self.box.low_m + self.box.high_m)
        self.sent: list[tuple[float, GuardOutput]] = []
        self.runs: list[list[tuple[float, GuardOutput]]] = []
        self.way: deque[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = deque(maxlen=6 if block % 3 == 0 else 1)
        self.put_arm_home()

    def put_arm_home(self) -> None:
        """At rest where it begins."""
        self.q = HOME if self.config.workspace_y_m[1] > 0.0 else MIRRORED
        position, self.rotation = forward(self.q)
        self.position, self.quat = position, matrix_to_quat(self.rotation)
        self.way.clear()

    def sense(self, joints: bool = True) -> None:
        """What the robot's topics would say; ``joints``: its joints too."""
        odd = self.rng.random()
        quat = self.quat * (1.005 if odd < 0.05 else 2.0 if odd < 0.0502 else 1.0)
        self.guard.on_pose(self.now_ns, self.position, quat)
        if joints:
            self.guard.on_joints(self.now_ns, self.q * (np.nan if 0.1 < odd < 0.1002 else 1.0), np.full(7, 9.0 if 0.2 < odd < 0.2002 else 0.0))
            self.guard.on_gripper(self.now_ns, 0.05)

    def tick(self, dt_ns: int, silent: bool = False) -> None:
        """The next command, ``dt_ns`` later; the clock may have been set back, and the robot be ``silent``."""
        self.now_ns += dt_ns
        self.ticks += 1
        solved = self.config.command_interface == "cartesian"
        # The arm's joints of the Cartesian interface are solved for: at every fourth tick, and where the last would be too old.
        joints = not solved or self.ticks % 4 == 0 or not 0 <= dt_ns <= 20_000_000
        if joints and solved:
            self.solve(1)
        if not silent:
            self.sense(joints)
        out = self.guard.tick(self.now_ns)
        self.counts[f"state {out.state.name}"] += 1
        self.counts[f"reason {out.reason.name}"] += 1
        self.counts["limited"] += int(out.limited)
        if not out.send:
            return
        self.sent.append((min(max(dt_ns, 0) / NS, self.config.max_tick_s), out))
        self.way.append((out.position_m, out.quat_xyzw, out.q_rad))
        self.position, self.quat, q = self.way[0]
        self.rotation = matrix_of(self.quat)
        self.q = self.q if q is None else q

    def solve(self, steps: int) -> None:
        """The joints of an arm whose pose is commanded."""
        for _ in range(steps):
            error = pose_error(*forward(self.q), self.position, self.rotation)
            if steps > 1 and np.linalg.norm(error) < 1e-3:
                return
            self.q = self.q + joint_velocity(self.q, error, 0.02, HOME, 0.1)

    def engage(self) -> None:
        """From where the arm is, a new run; where it may not be, from home. Now and then a retreat comes before."""
        if self.guard.state is State.FAULT and self.rng.random() < 0.1:
            for _ in range(30):
                self.tick(20_000_000)
            if self.guard.retreat(self.now_ns)[0]:
                self.counts["retreats"] += 1
                for _ in range(int(self.rng.integers(1, 60))):
                    self.tick(20_000_000)
                self.guard.cancel_retreat()
                self.tick(10_000_000)
                # A fault in the retreat ends the run: from it the guard is engaged at the measured pose, below.
                if self.guard.state is not State.FAULT:
                    self.guard.engage(self.now_ns)
                    return
        for attempt in range(60):
            if self.config.command_interface == "cartesian":
                self.solve(10)
            self.sense()
            if self.guard.engage(self.now_ns)[0]:
                self.counts["engaged"] += 1
                self.runs.append(self.sent)
                self.sent = []
                return
            self.tick(20_000_000)
            if attempt % 20 == 19:
                self.guard.disengage(self.now_ns)
                self.put_arm_home()

    def chunks(self, most: int) -> int:
        """One chunk or a few, and the ticks after them: two a chunk in the mean. Returns how many chunks, at most ``most``."""
        if self.guard.state in (State.REFUSING, State.FAULT):
            self.engage()
        rng = self.rng
        count = min(most, 1 if rng.random() < 0.95 else int(rng.integers(2, 6)))
        for _ in range(count):
            self.send()
        ticks = int(rng.integers(20, 60)) if rng.random() < 0.005 else count * int(rng.integers(1, 4))
        if rng.random() < 0.001:
            self.tick(int(rng.uniform(-3.0, 3.0) * NS), silent=rng.random() < 0.5)
            self.observed_ns = 0
        for _ in range(ticks):
            length = rng.random()
            seconds = 0.0 if length < 0.01 else rng.uniform(0.05, 0.3) if length < 0.02 else rng.uniform(SHORTEST_S, 0.02)
            self.tick(int(seconds * NS))
        return count

    def send(self) -> None:
        """One chunk, counted by its kind and by what became of it."""
        rng = self.rng
        if rng.random() < 0.03:
            self.change_hands()
        kind = KINDS[int(rng.integers(len(KINDS)))] if rng.random() < 0.25 else "fair"
        if kind in _COSTLY and rng.random() < 0.7:
            kind = "fair"
        before = self.guard.rejected_actions
        with np.errstate(all="ignore"):
            self.guard.on_action(self.action(kind), self.now_ns)
        self.counts[f"sent {kind}"] += 1
        self.counts[f"refused {kind}"] += self.guard.rejected_actions - before

    def change_hands(self) -> None:
        """Between policy and operator; the operator lets go of the deadman first."""
        if self.source is Source.OPERATOR:
            self.guard.on_action(self.action("released"), self.now_ns)
        self.source = Source.POLICY if self.source is Source.OPERATOR else Source.OPERATOR

    def action(self, kind: str) -> ActionData:
        """A chunk of this kind."""
        rng = self.rng
        dt_s = (0.05, 0.1, 0.2)[int(rng.integers(3))]
        horizon = {"empty": 0, "released": 0, "authority": 0, "long": 1024}.get(kind, (1, 2, 4, 8, 16)[int(rng.integers(5))])
        age_s = {"old": 1.0, "late": 0.2, "future": -1.0}.get(kind, 0.03) * rng.uniform(0.2, 1.0)
        observed_ns = {"older": self.observed_ns - 1, "repeated": self.observed_ns}.get(kind, self.now_ns - int(age_s * NS))
        if kind == "fair" and rng.random() < 0.95:
            observed_ns = max(observed_ns, self.observed_ns)
        if kind != "future":
            self.observed_ns = max(self.observed_ns, observed_ns)
        fields: dict[str, Any] = {
            "source": self.source,
            "space": Space.EEF_POSE,
            "frame_id": "fr3_link0",
            "sequence": int(rng.integers(1000)),
            "observation_stamp_ns": observed_ns,
            "start_stamp_ns": observed_ns + int(dt_s * NS) - (NS // 2 if kind == "past" else 0),
            "dt_s": dt_s,
            "rows": self.rows(horizon, dt_s, kind),
            "next_within_s": 0.02 if rng.random() < 0.5 else 0.1,
            "deadman": True,
        }
        return ActionData(**{**fields, **_CHANGES.get(kind, {})})

    def rows(self, horizon: int, dt_s: float, kind: str) -> np.ndarray:
        """A smooth way on from where the arm is: turning, at up to 1.3 times the speed limit, to a place in the box, at its walls or beyond."""
        if horizon == 0:
            return np.zeros((0, 10))
        rng, config = self.rng, self.config
        low, high = self.box.low_m, self.box.high_m
        if rng.random() < 0.04:
            self.aim, self.pace = rng.uniform(low - 0.1, high + 0.1), rng.uniform(0.1, 1.3) * config.linear_speed_m_s
            self.turning = rng.normal(size=3) * rng.uniform(0.0, 0.8) * config.angular_speed_rad_s
        wish = self.aim - self.position
        wish *= self.pace / max(float(np.linalg.norm(wish)), 1e-9)
        self.velocity = 0.7 * self.velocity + 0.3 * wish
        times = np.minimum(dt_s * np.arange(1, horizon + 1), 1.0)[:, None]
        rows = np.empty((horizon, 10))
        rows[:, :3] = self.position + self.velocity * times + 0.1 * rng.normal(size=3) * times**2
        rows[:, :3] = np.clip(rows[:, :3], low, high)
        turning = 0.8 * turn_between(self.rotation, UPRIGHT) + self.turning + 0.1 * rng.normal(size=3)
        rotations = about(turning, times[:, 0]) @ self.rotation
        rows[:, 3:6], rows[:, 6:9], rows[:, 9] = rotations[:, :, 0], rotations[:, :, 1], 0.04
        return self.spoiled(rows, kind)

    def spoiled(self, rows: np.ndarray, kind: str) -> np.ndarray:
        """``rows`` (T, 10) with what is wrong with this kind."""
        rng, row = self.rng, int(self.rng.integers(len(rows)))
        if kind in _SHAPES:
            return np.resize(rows, _SHAPES[kind])
        if kind in ("nan", "inf", "huge", "denormal"):
            rows[row, rng.integers(10)] = {"nan": np.nan, "inf": -np.inf, "huge": 1e308, "denormal": 5e-324}[kind]
        elif kind == "jump":
            rows[:, :3] += rng.uniform(-0.5, 0.5, 3)
        elif kind in ("wall", "outside"):
            walls = np.stack([self.box.low_m, self.box.high_m])
            side, axis = np.unravel_index(np.argmin(np.abs(walls - self.position)), (2, 3))
            rows[:, axis] = walls[side, axis] + (rng.uniform(-0.1, 0.1) if kind == "outside" else 0.0)
        elif kind == "degenerate":
            rows[row, 6:9] = -3.0 * rows[row, 3:6] if rng.random() < 0.5 else 0.0
        elif kind == "unnormalised":
            rows[:, 3:9] *= rng.uniform(1e-4, 1e4)
            rows[:, 6:9] += rng.uniform(-2.0, 2.0) * rows[:, 3:6]
        elif kind == "width":
            rows[row, 9] = rng.choice([-0.1, 1.0])
        return rows
