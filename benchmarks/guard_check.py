"""Random and adversarial chunks against the command guard: how near does what it sends come to each limit?

python benchmarks/guard_check.py --chunks 1000000 --seed 0

Most chunks are feasible or nearly so and are followed; the others jump, are not finite, come late, early, twice, in the wrong order, empty or with
1024 rows, or with a time step of nothing or of years. Ticks are 0 to 300 ms apart. Every command is compared with every limit by divided differences
over the motion's time (a tick counts for at most max_tick_s). Ends with 1 where a limit is exceeded.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cdp.actions import eef_row
from cdp.geometry import matrix_to_quat, quat_to_matrix, rotvec_to_matrix
from cdp_franka.guard import GuardCore
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import ActionData, GuardOutput, Source, Space, State
from cdp_franka.kinematics import forward, joint_velocity, pose_error
from cdp_franka.rotation import turn_between

NS = 1_000_000_000
HOME = np.array([0.0, -0.2, 0.0, -2.3, 0.0, 2.1, np.pi / 4])
BLOCK = 500
# Rounding of positions in a third difference, for the tolerance of the verdict: 1e-5 of each limit.
TOLERANCE = 1e-5
# Shorter ticks are possible; below this the rounding of a position, 1e-16 m, is seen in a third difference.
SHORTEST_S = 1e-3
KINDS = ("nan", "inf", "jump", "old", "older", "repeated", "future", "past", "empty", "long", "huge_dt", "zero_dt", "frame", "released")


class Bench:
    """A guard, an arm that is where it was last commanded, and random sources."""

    def __init__(self, interface: str, seed: int) -> None:
        low = (-0.4, 0.0)[seed % 2]
        # A bound of 0.0 m counts like any other.
        self.config = GuardConfig(command_interface=interface, workspace_y_m=(low, 0.4), workspace_z_m=(0.0, 0.6))
        self.guard = GuardCore(self.config)
        self.rng = np.random.default_rng(seed)
        self.now_ns = 100 * NS
        self.counts: Counter[str] = Counter()
        self.put_arm_home()
        self.ticks = self.observed_ns = 0
        self.source = Source.POLICY
        self.sent: list[tuple[float, GuardOutput]] = []
        self.runs: list[list[tuple[float, GuardOutput]]] = []
        self.velocity = np.zeros(3)

    def put_arm_home(self) -> None:
        """At rest where it begins."""
        self.q = HOME.copy()
        self.q[0] = 0.2
        self.pose = forward(self.q)
        self.quat = matrix_to_quat(self.pose[1])

    def sense(self, joints: bool = True) -> None:
        """What the robot's topics would say; ``joints``: its joints too."""
        self.guard.on_pose(self.now_ns, self.pose[0], self.quat)
        if not joints:
            return
        if self.config.command_interface == "cartesian":
            self.q = self.q + joint_velocity(self.q, pose_error(*forward(self.q), *self.pose), 0.02, HOME, 0.1)
        self.guard.on_joints(self.now_ns, self.q, np.zeros(7))
        self.guard.on_gripper(self.now_ns, 0.05)

    def tick(self, dt_ns: int) -> None:
        """The next command, ``dt_ns`` later."""
        self.now_ns += dt_ns
        self.ticks += 1
        # The arm's joints of the Cartesian interface are solved for: at every fourth tick, and where the last would be too old.
        self.sense(self.config.command_interface == "joint" or self.ticks % 4 == 0 or dt_ns > 20_000_000)
        out = self.guard.tick(self.now_ns)
        self.counts[out.state.name] += 1
        self.counts["limited"] += int(out.limited)
        if not out.send:
            return
        self.sent.append((min(dt_ns / NS, self.config.max_tick_s), out))
        self.pose, self.quat = (out.position_m, quat_to_matrix(out.quat_xyzw)), out.quat_xyzw
        if out.q_rad is not None:
            self.q = out.q_rad

    def engage(self) -> None:
        """From where the arm is, a new run; where it may not be, from home."""
        self.sense()
        while not self.guard.engage(self.now_ns)[0]:
            self.tick(20_000_000)
            if self.rng.random() < 0.05:
                self.guard.disengage(self.now_ns)
                self.put_arm_home()
                self.sense()
        self.counts["engaged"] += 1
        self.runs.append(self.sent)
        self.sent = []

    def chunk(self) -> None:
        """One chunk, and up to six ticks."""
        if self.guard.state in (State.REFUSING, State.FAULT):
            self.engage()
        rng = self.rng
        kind = KINDS[int(rng.integers(len(KINDS)))] if rng.random() < 0.12 else "fair"
        self.change_hands()
        if kind in ("nan", "inf") and rng.random() < 0.7:
            kind = "fair"  # each of them costs an engage
        self.counts["chunks"] += 1
        before = self.guard.rejected_actions
        with np.errstate(all="ignore"):
            self.guard.on_action(self.action(kind), self.now_ns)
        self.counts["refused"] += self.guard.rejected_actions - before
        for _ in range(int(rng.integers(1, 4))):
            length = rng.random()
            seconds = 0.0 if length < 0.01 else rng.uniform(0.05, 0.3) if length < 0.02 else rng.uniform(SHORTEST_S, 0.02)
            self.tick(int(seconds * NS))

    def change_hands(self) -> None:
        """Now and then between policy and operator; the operator lets go of the deadman first."""
        if self.rng.random() > 0.03:
            return
        if self.source is Source.OPERATOR:
            self.guard.on_action(self.action("released"), self.now_ns)
        self.source = Source.POLICY if self.source is Source.OPERATOR else Source.OPERATOR

    def action(self, kind: str) -> ActionData:
        """A chunk of this kind."""
        rng = self.rng
        dt_s = (0.05, 0.1, 0.2)[int(rng.integers(3))]
        horizon = {"empty": 0, "released": 0, "long": 1024}.get(kind, (1, 2, 4, 8)[int(rng.integers(4))])
        rows = self.rows(horizon, dt_s, kind)
        observed_ns = self.now_ns - int(rng.uniform(0, 0.03) * NS)
        observed_ns = {"old": self.now_ns - NS, "older": self.observed_ns - 1, "repeated": self.observed_ns, "future": self.now_ns + NS}.get(
            kind, observed_ns
        )
        self.observed_ns = max(self.observed_ns, observed_ns) if kind != "future" else self.observed_ns
        start_ns = observed_ns + int(dt_s * NS) - (NS // 2 if kind == "past" else 0)
        return ActionData(
            source=self.source,
            space=Space.EEF_POSE,
            frame_id="world" if kind == "frame" else "fr3_link0",
            sequence=self.counts["chunks"],
            observation_stamp_ns=observed_ns,
            start_stamp_ns=start_ns,
            dt_s={"huge_dt": 1e9, "zero_dt": 0.0}.get(kind, dt_s),
            rows=rows,
            next_within_s=0.02 if rng.random() < 0.5 else 0.1,
            deadman=kind != "released",  # of the operator: the hand that was in control gives it up
        )

    def rows(self, horizon: int, dt_s: float, kind: str) -> np.ndarray:
        """A smooth way on from where the arm is: turning, at 0 to 1.2 times the speed limit, around the middle of the box."""
        rng, config = self.rng, self.config
        middle = 0.5 * (config.box.low_m + config.box.high_m)
        wish = rng.normal(size=3) + 3.0 * (middle - self.pose[0]) * (rng.random() < 0.5)
        wish *= rng.uniform(0.0, 1.2) * config.linear_speed_m_s / max(float(np.linalg.norm(wish)), 1e-9)
        self.velocity = 0.7 * self.velocity + 0.3 * wish
        times = dt_s * np.arange(1, horizon + 1)[:, None]
        positions = self.pose[0] + self.velocity * np.minimum(times, 1.0) + 0.1 * rng.normal(size=3) * np.minimum(times, 1.0) ** 2
        if rng.random() < 0.85:
            positions = np.clip(positions, config.box.low_m, config.box.high_m)
        if kind == "jump":
            positions = positions + rng.uniform(-0.5, 0.5, 3)
        home = turn_between(self.pose[1], forward(HOME)[1])
        turns = np.minimum(times, 1.0) * (0.5 * home + rng.normal(size=3) * 0.3)
        rotations = rotvec_to_matrix(turns) @ self.pose[1] if horizon else np.zeros((0, 3, 3))
        quats = matrix_to_quat(rotations) if horizon else np.zeros((0, 4))
        rows = eef_row(positions, quats, np.full(horizon, 0.04)) if horizon else np.zeros((0, 10))
        if kind in ("nan", "inf"):
            rows = rows.copy()
            rows[rng.integers(horizon), rng.integers(10)] = {"nan": np.nan, "inf": np.inf}[kind]
        return rows

    def worst(self) -> dict[str, float]:
        """Greatest share of each limit that was used by what was sent since the last call."""
        found: dict[str, float] = {}
        for run in [*self.runs, self.sent]:
            for name, share in shares(run, self.config).items():
                found[name] = max(found.get(name, 0.0), share)
        self.runs, self.sent = [], self.sent[-4:]
        return found


def shares(run: list[tuple[float, GuardOutput]], config: GuardConfig) -> dict[str, float]:
    """Of commands that follow one another: the greatest share of each limit."""
    # A tick of no length sends the same again; it has no velocity.
    moved = [run[0], *(step for step in run[1:] if step[0] > 0.0)] if run else []
    still = [np.array_equal(after[1].position_m, before[1].position_m) for before, after in itertools.pairwise(run) if after[0] == 0.0]
    found = {"a tick of no length moves": float(not all(still))}
    if len(moved) < 2:
        return found
    steps = np.array([dt for dt, _ in moved[1:]])
    outs = [out for _, out in moved]
    places = np.array([o.position_m for o in outs])
    box = config.box
    found["workspace"] = float(np.max(np.maximum(box.low_m - places, places - box.high_m)) > 0.0)
    found["not finite"] = float(not all(np.all(np.isfinite(np.concatenate([o.position_m, o.quat_xyzw]))) for o in outs))
    limits = (config.linear_speed_m_s, config.linear_acceleration_m_s2, config.linear_jerk_m_s3)
    for name, value, limit in zip(("speed", "acceleration", "jerk"), divided(places, steps), limits, strict=True):
        found[f"linear {name}"] = float(np.max(np.linalg.norm(value, axis=1), initial=0.0) / limit)
    rotations = quat_to_matrix(np.array([o.quat_xyzw for o in outs]))
    turns = np.array([turn_between(a, b) for a, b in itertools.pairwise(rotations)])
    angles = np.concatenate([np.zeros((1, 3)), np.cumsum(turns, axis=0)])
    limits = (config.angular_speed_rad_s, config.angular_acceleration_rad_s2, config.angular_jerk_rad_s3)
    for name, value, limit in zip(("speed", "acceleration", "jerk"), divided(angles, steps), limits, strict=True):
        found[f"angular {name}"] = float(np.max(np.linalg.norm(value, axis=1), initial=0.0) / limit)
    if outs[0].q_rad is not None:
        found |= joint_shares(outs, steps, config)
    return found


def joint_shares(outs: list[GuardOutput], steps: np.ndarray, config: GuardConfig) -> dict[str, float]:
    """The same of the joints, by ``steps`` (N - 1,)."""
    q, dq, robot = np.array([o.q_rad for o in outs]), np.array([o.dq_rad_s for o in outs]), config.limits
    low, high = robot.velocity_bounds_rad_s(q)
    outside = np.max(np.maximum(robot.q_min_rad + config.joint_margin_rad - q, q - robot.q_max_rad + config.joint_margin_rad))
    found = {"joint range": float(outside > 0.0), "joint bound near the stops": float(np.max(np.where(dq > 0, dq / high, dq / low)))}
    limits = (
        config.joint_speed_share * robot.dq_max_rad_s,
        config.joint_acceleration_share * robot.ddq_max_rad_s2,
        config.joint_jerk_share * robot.dddq_max_rad_s3,
    )
    for name, value, limit in zip(("speed", "acceleration", "jerk"), divided(q, steps), limits, strict=True):
        found[f"joint {name}"] = float(np.max(np.abs(value) / limit, initial=0.0))
    return found


def divided(rows: np.ndarray, steps: np.ndarray) -> list[np.ndarray]:
    """Velocity, acceleration and jerk of rows (N, D), steps (N - 1,) apart: divided differences times 1, 2 and 6."""
    times, values, factor, found = np.concatenate([[0.0], np.cumsum(steps)]), rows, 1.0, []
    for order in (1, 2, 3):
        factor *= order
        values = (values[1:] - values[:-1]) / (times[order:] - times[:-order])[:, None] if len(values) > 1 else np.zeros((0, rows.shape[1]))
        found.append(values * factor)
    return found


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="JSON file, written anew after every block")
    arguments = parser.parse_args()
    worst: dict[str, float] = {}
    counts: Counter[str] = Counter()
    begin = time.process_time()
    with tqdm(total=arguments.chunks, unit="chunk", mininterval=5.0) as bar:
        for block in range(-(-arguments.chunks // BLOCK)):
            bench = Bench(("cartesian", "joint")[block % 2], arguments.seed * 1_000_003 + block)
            count = min(BLOCK, arguments.chunks - block * BLOCK)
            for _ in range(count):
                bench.chunk()
            for name, share in bench.worst().items():
                worst[name] = max(worst.get(name, 0.0), share)
            counts.update(bench.counts)
            bar.update(count)
            if arguments.out is not None:
                result = {"seed": arguments.seed, "worst_share": worst, "counts": dict(counts), "cpu_s": time.process_time() - begin}
                arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    return report(worst, counts)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def report(worst: dict[str, float], counts: Counter[str]) -> int:
    """Print it; 1 where a limit is exceeded or nothing was followed."""
    ticks = sum(counts[state.name] for state in State)
    followed = counts["POLICY"] + counts["OPERATOR"]
    refused = 100 * counts["refused"] / counts["chunks"]
    _say(f"{counts['chunks']} chunks: {100 - refused:.1f} % accepted, {refused:.1f} % refused")
    _say(f"{ticks} ticks: " + ", ".join(f"{100 * counts[s.name] / ticks:.1f} % {s.name.lower()}" for s in State if counts[s.name]))
    _say(f"{counts['engaged']} engages; {100 * counts['limited'] / max(followed, 1):.1f} % of the followed ticks held back by a limit")
    for name, share in worst.items():
        _say(f"  {name}: {'never' if share == 0.0 else f'{100 * share:.4f} % of the limit'}")
    bad = [name for name, share in worst.items() if share > 1.0 + TOLERANCE or (name in YES_NO and share > 0.0)]
    if followed < 0.5 * ticks:
        bad.append("most ticks follow a source")
    _say(f"guard-check: {'FAILED: ' + ', '.join(bad) if bad else 'every command within every limit'}")
    return 1 if bad else 0


YES_NO = ("a tick of no length moves", "workspace", "not finite", "joint range")

if __name__ == "__main__":
    sys.exit(main())
