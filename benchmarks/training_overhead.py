"""What a contraction penalty costs: training steps with and without it, timed in turn in one run, on a policy's own configuration.

``python benchmarks/training_overhead.py [--config config/train/slide.yaml] [--rounds 6] [--no-check]``

Data are random and of the right shapes: no demonstrations are needed. Every variant is a training of its own; blocks of their steps take turns, so
that a busy machine slows them alike, and each ratio is taken within one round. The table gives the median over the rounds of a penalised step's time
over that of a step with gamma 0, and what is left of it on average with ``every``. It fails where the configured penalty costs more than
``--limit`` times an average step, unless ``--no-check`` is given.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from cdp.config import load
from cdp.contraction.config import LABEL_ESTIMATORS, ContractionConfig
from cdp.data.normalise import MinMax, Stats
from cdp.train.config import TrainConfig
from cdp.train.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
ACTION_WIDTH = 10
LIMIT = 1.10
BASELINE = "gamma 0"
CONFIGURED = "as configured"
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
_DERIVATIVES = ("central", "jvp")
# The whole Jacobian is for chunks of a few numbers: of a chunk of 160 it costs hundreds of steps.
_LEFT_OUT = "exact"


class RandomWindows:
    """As many random windows as a batch has, in the shapes that a configuration asks for."""

    def __init__(self, config: TrainConfig) -> None:
        rng = np.random.default_rng(config.seed)
        rows, size, window = config.batch_size, config.observation.image_size, config.observation.window
        self.lowdim_width, self.action_width = config.observation.lowdim_width, ACTION_WIDTH
        self.images = rng.integers(0, 256, (rows, window, size, size, 3), dtype=np.uint8)
        self.lowdim = rng.uniform(-1, 1, (rows, window, self.lowdim_width)).astype(np.float32)
        self.actions = rng.uniform(-1, 1, (rows, config.horizon, ACTION_WIDTH)).astype(np.float32)
        self.stats = Stats(*(MinMax(-np.ones(width), np.ones(width)) for width in (ACTION_WIDTH, self.lowdim_width)))
        self.sha256 = "0" * 64

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: ArrayLike) -> dict[str, NDArray[np.generic]]:
        """The rows ``indices``."""
        rows = np.asarray(indices, dtype=np.int64)
        return {"image": self.images[rows], "lowdim": self.lowdim[rows], "action": self.actions[rows]}


def variants(config: ContractionConfig) -> dict[str, ContractionConfig]:
    """The penalties to time, each at every step: the configured one first, then every label with its estimators and derivatives."""
    every_step = replace(config, every=1)
    made = {BASELINE: replace(every_step, gamma=0.0), CONFIGURED: every_step}
    for label, estimators in LABEL_ESTIMATORS.items():
        for estimator in estimators:
            for derivative in _DERIVATIVES:
                if label != "diffusion" and estimator != _LEFT_OUT:
                    changed = replace(every_step, label=label, estimator=estimator, derivative=derivative, gamma=config.first_gamma or 0.1)
                    made[f"{label} {estimator} {derivative}"] = changed
    return made


def block_time_s(step: Callable[[int], object], first: int, count: int, clock: Callable[[], float]) -> float:
    """Time of one of ``count`` steps from number ``first``."""
    started = clock()
    for number in range(first, first + count):
        step(number)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (clock() - started) / count


def measure(steps: Mapping[str, Callable[[int], object]], rounds: int, block: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds a step of each variant, one figure a round; the variants take turns, in the other direction every second round."""
    for step in steps.values():
        step(0)
    times: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    with tqdm(total=rounds * len(names), unit="block", dynamic_ncols=True, file=sys.stderr) as bar:
        for number in range(rounds):
            for name in names if number % 2 == 0 else reversed(names):
                times[name].append(block_time_s(steps[name], 1 + number * block, block, clock))
                bar.update()
    return times


def penalised_ratio(times: dict[str, list[float]], name: str) -> float:
    """Median over the rounds of the variant's step over that of gamma 0 in the same round."""
    return median(ours / base for ours, base in zip(times[name], times[BASELINE], strict=True))


def average_ratio(penalised: float, every: int) -> float:
    """Of an average step where each ``every``-th is penalised."""
    return 1.0 + (penalised - 1.0) / every


def table(times: dict[str, list[float]], every: int) -> str:
    """One line a variant."""
    lines = [f"{'penalty':38} {'ms a step':>10} {'penalised':>10} {f'every {every}':>10} {'every 4':>10}"]
    for name in times:
        ratio = penalised_ratio(times, name)
        columns = [f"{1000 * median(times[name]):10.1f}", *(f"{average_ratio(ratio, n):9.2f}x" for n in (1, every, 4))]
        lines.append(f"{name:38} {' '.join(columns)}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and the summary line; the exit status."""
    parser = argparse.ArgumentParser(description="Training steps with and without a contraction penalty, timed in turn in one run.")
    parser.add_argument("--config", type=Path, default=ROOT / "config/train/slide.yaml", help="training configuration")
    parser.add_argument("--rounds", type=int, default=6, help="blocks of steps of each variant")
    parser.add_argument("--block", type=int, default=2, help="steps in a block")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; those of the configuration where not given")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: the process's own time, for a busy machine and one thread")
    parser.add_argument("--only-configured", action="store_true", help="time the configured penalty alone")
    parser.add_argument(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"fail where the configured penalty costs more than --limit ({LIMIT}) times a step",
    )
    parser.add_argument("--limit", type=float, default=LIMIT)
    args = parser.parse_args(argv)
    config = load(TrainConfig, args.config)
    threads = config.threads if args.threads is None else args.threads
    if threads:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() and config.device != "cpu" else "cpu")
    chosen = variants(config.contraction)
    if args.only_configured:
        chosen = {name: chosen[name] for name in (BASELINE, CONFIGURED)}
    with tempfile.TemporaryDirectory() as folder:
        windows = RandomWindows(config)
        steps = {
            name: Trainer(replace(config, contraction=contraction, run_dir=Path(folder)), windows, windows, device).step
            for name, contraction in chosen.items()
        }
        times = measure(steps, args.rounds, args.block, CLOCKS[args.clock])
    every, penalised = config.contraction.every, penalised_ratio(times, CONFIGURED)
    average = average_ratio(penalised, every)
    print(table(times, every))  # noqa: T201
    print(  # noqa: T201
        f"{config.contraction.label}, {config.contraction.fraction:.0%} of the batch every {every} steps: {average:.2f}x a step at gamma 0 "
        f"({penalised:.2f}x where penalised, {1000 * median(times[BASELINE]):.0f} ms), {args.rounds} rounds of {args.block} steps, "
        f"{args.clock} time on {device}"
    )
    return int(args.check and not average <= args.limit)


if __name__ == "__main__":
    sys.exit(main())
