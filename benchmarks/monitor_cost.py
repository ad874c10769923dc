"""What the monitor costs a running policy: times of chunks with and without a thread that reads beside them.

``python benchmarks/monitor_cost.py [--bundle models/slide] [--rounds 6] [--chunks 50] [--rate 1]``

Chunks are asked for every 100 ms, four times as often as the node asks with its default settings, from this thread, as from the node's planning
thread; the monitor reads in its own. Blocks with and without it take turns, so that a busy machine slows them alike. Times are from the moment that a
chunk was due.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from cdp.bundle import Bundle
from cdp.data.window import WindowArrays
from cdp.runtime import PolicyRuntime, RuntimeConfig
from cdp.statistics import percentiles
from cdp_policy_node.policy_monitor import MonitorParameters, PolicyMonitor, open_monitor

PERIOD_S = 0.1


def block(runtime: PolicyRuntime, monitor: PolicyMonitor | None, window: WindowArrays, chunks: int) -> tuple[list[float], list[float]]:
    """Times [ms] of so many chunks, each from when it was due, and of the readings meanwhile."""
    taken, readings = [], []
    seen = None
    due = time.perf_counter()
    for _ in range(chunks):
        due += PERIOD_S
        time.sleep(max(0.0, due - time.perf_counter()))
        if monitor is not None:
            monitor.offer(window, time.monotonic_ns())
            latest = monitor.latest()
            if latest is not None and latest is not seen:
                seen = latest
                readings.append(latest.reading.cost_ms)
        runtime.act(window)
        taken.append(1e3 * (time.perf_counter() - due))
        due = max(due, time.perf_counter() - PERIOD_S)
    return taken, readings


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=Path("models/slide"))
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--chunks", type=int, default=50, help="chunks of a block")
    parser.add_argument("--rate", type=float, default=1.0, help="readings a second")
    arguments = parser.parse_args()
    bundle, config = Bundle.open(arguments.bundle), RuntimeConfig(backend=arguments.backend)
    runtime = PolicyRuntime(bundle, config)
    monitor, line = open_monitor(bundle, config, MonitorParameters(monitor_rate_hz=arguments.rate))
    spec = bundle.policy.observation
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (spec.window, spec.image_size, spec.image_size, 3), dtype=np.uint8)
    window: WindowArrays = {"image": image, "lowdim": rng.uniform(-1.0, 1.0, (spec.window, spec.lowdim_width)).astype(np.float32)}
    runtime.warm_up()
    times: dict[str, list[float]] = {"without": [], "with": []}
    costs: list[float] = []
    for _ in range(arguments.rounds):
        times["without"] += block(runtime, None, window, arguments.chunks)[0]
        taken, readings = block(runtime, monitor, window, arguments.chunks)
        times["with"] += taken
        costs += readings
    monitor.close()
    sys.stdout.write(f"{line}\n")
    for name, values in times.items():
        p50, p95, p99 = percentiles(values, (50, 95, 99))
        sys.stdout.write(f"chunk {name:8s} the monitor: p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms of {len(values)}\n")
    p50, p99 = percentiles(costs)
    sys.stdout.write(f"a reading: p50 {p50:.0f} ms, p99 {p99:.0f} ms of {len(costs)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
