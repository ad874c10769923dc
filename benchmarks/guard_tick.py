"""Processor time of one tick of the guard with the state messages before it, following chunks of a policy: mean of blocks of 100 ticks.

One reading of the processor's clock costs up to a millisecond on some virtual machines, so that single ticks are not timed.

``python benchmarks/guard_tick.py [--ticks 3000] [--rate 100]``
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from cdp.actions import eef_row
from cdp.geometry import matrix_to_quat
from cdp_franka.guard import GuardCore
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import ActionData, Source, Space
from cdp_franka.kinematics import forward

HOME = np.array([0.0, -0.2, 0.0, -2.3, 0.0, 2.1, np.pi / 4])
NS = 1_000_000_000
BLOCK = 100


def tick_times(interface: str, ticks: int, rate_hz: float) -> np.ndarray:
    """Seconds (ticks / 100,) of processor time for a tick; the arm is where it was last commanded, a chunk of 16 rows comes every 0.4 s."""
    guard, now_ns, q = GuardCore(GuardConfig(command_interface=interface, max_next_within_s=1.0, max_observation_age_s=1.0)), NS, HOME
    position, rotation = forward(HOME)
    home, quat, found = position, matrix_to_quat(rotation), []

    def sense() -> None:
        guard.on_joints(now_ns, q, np.zeros(7))
        guard.on_pose(now_ns, position, quat)
        guard.on_gripper(now_ns, 0.05)

    sense()
    assert guard.engage(now_ns)[0]
    begin = time.thread_time()
    for k in range(ticks):
        if k % round(0.4 * rate_hz) == 0:
            times = now_ns / NS + 0.1 * np.arange(1, 17)
            circle = 0.05 * np.stack([np.cos(2 * times) - np.cos(2.0), np.sin(2 * times) - np.sin(2.0), 0 * times], axis=1)
            rows = eef_row(home + circle, np.tile(matrix_to_quat(rotation), (16, 1)), np.full(16, 0.04))
            guard.on_action(ActionData(Source.POLICY, Space.EEF_POSE, "fr3_link0", k, now_ns, now_ns + NS // 10, 0.1, rows, 0.5, True), now_ns)
        now_ns += round(NS / rate_hz)
        sense()
        out = guard.tick(now_ns)
        position, quat = out.position_m, out.quat_xyzw
        q = q if out.q_rad is None else out.q_rad
        if k % BLOCK == BLOCK - 1:
            end = time.thread_time()
            found.append((end - begin) / BLOCK)
            begin = end
    assert guard.state.name == "POLICY", out.message
    return np.array(found)


def main() -> int:
    """Run it for both interfaces."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--ticks", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=100.0, help="ticks a second [Hz]")
    arguments = parser.parse_args()
    for interface in ("cartesian", "joint"):
        times = 1e3 * tick_times(interface, arguments.ticks, arguments.rate)
        sys.stdout.write(f"{interface}, {arguments.rate:.0f} Hz: mean {np.mean(times):.3f} ms, quickest block {np.min(times):.3f} ms\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
