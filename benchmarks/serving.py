"""How long a policy takes to answer: from a camera image and the robot's state to an action chunk, beside LeRobot's DiffusionPolicy in the same run.

``python benchmarks/serving.py [--chunks 400] [--threads 2] [--seed 0] [--loop EPISODES] [--no-peer] [--limit-ms 10]``

First part, nothing else running: a 640x480 image and a robot state go through the same window as on the robot (resize, normalise, stack) and
through the networks; the time runs from handing over the image to holding rows in SI units. Two policies: the shipped ``models/slide`` and one of
the size that we recommend as a start (ResNet-10 of width 32, DiT 192x4, random weights, no matrix of which is left at zero: an engine would leave
it out). The variants take turns, so that a busy machine slows all alike, of ``BLOCK`` chunks each: a robot serves one policy, whose weights no other
one drives out of the caches. The first chunk of a turn, whose weights have been driven out, is reported apart.
The same share of turns goes to a *standstill probe*, a fixed piece of arithmetic: how much longer than its median its slowest one in a hundred
takes is the machine's doing, and is printed with the table.

A virtual machine is told how much time its host has kept from it (``steal`` of ``/proc/stat``). A turn in which the host did is made again, at most
``MOST`` times as many turns as asked for: the percentiles are of turns in which the cores were ours. What all turns come to is printed beside them.

Second part (``--loop``): real nodes over real DDS, simulator, camera, guard, policy and a recorder that records, in real time; from the stamp of an
image to the first command that follows its chunk (:mod:`serving_loop`).

Exit status 1 where the recommended size under OpenVINO is above ``--limit-ms`` at p99 although the probe was steady (``--no-check`` never fails).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cdp.bundle import Bundle, PolicyDescription
from cdp.bundle.card import Card
from cdp.bundle.writer import write_bundle
from cdp.data.normalise import MinMax, Stats
from cdp.data.spec import STREAM_WIDTHS, ObservationSpec
from cdp.data.window import ObservationWindow
from cdp.networks.config import DenoiserConfig, EncoderConfig, NetworkConfig
from cdp.networks.policy import build_policy
from cdp.runtime import InferenceError, PolicyRuntime, RuntimeConfig
from cdp.statistics import percentiles

ROOT = Path(__file__).resolve().parents[1]
PEER_PYTHON = ROOT / "runs/peers/venv/bin/python"
HEIGHT, WIDTH, HORIZON, ACTION_WIDTH = 480, 640, 16, 10
STEPS = 3
WARM_UP = 20
BLOCK = 20
# The probe's slowest one in a hundred on a machine that is ours alone, as a multiple of its median (1.2 to 1.6 were seen).
STEADY = 2.0
# Turns that are made at most, as a multiple of those that are asked for.
MOST = 5
RECOMMENDED = "ResNet-10 + DiT 192x4"


def recommended_bundle(folder: Path, seed: int) -> Bundle:
    """A bundle of the recommended size with random weights."""
    torch.manual_seed(seed)
    observation = ObservationSpec(lowdim_keys=("robot0_eef_pos", "robot0_eef_rot6d", "robot0_gripper_qpos"))
    config = NetworkConfig(EncoderConfig(blocks=(1, 1, 1, 1), width=32), DenoiserConfig(kind="dit", width=192, depth=4, heads=4))
    policy = build_policy(config, lowdim_width=observation.lowdim_width, action_width=ACTION_WIDTH, window=observation.window, horizon=HORIZON).eval()
    # Training begins with some matrices at zero. Left so, an engine sees that they are equal and computes with one of them.
    with torch.no_grad():
        for weight in policy.parameters():
            if not weight.any():
                weight.normal_(std=0.02)
    centre = np.array([0.5, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0])
    half = np.array([0.05] * 3 + [0.02] * 6 + [1.0])
    stats = Stats(MinMax(centre - half, centre + half), MinMax(-np.ones(observation.lowdim_width), np.ones(observation.lowdim_width)))
    description = PolicyDescription("bench", observation, "0" * 64, HORIZON, dataset="none", steps=STEPS)
    card = Card("Random weights, for timing.", ("python benchmarks/serving.py",), {"weights": seed})
    write_bundle(folder / "bench", policy, description=description, config=config, stats=stats, report={}, card=card)
    return Bundle.open(folder / "bench")


class Answering:
    """One policy under one backend: :meth:`once` answers one fresh observation and returns the time that it took [ms]."""

    def __init__(self, bundle: Bundle, config: RuntimeConfig, images: NDArray[np.uint8]) -> None:
        self._runtime = PolicyRuntime(bundle, config)
        self._runtime.warm_up()
        self.engine = self._runtime.engine
        self._window = ObservationWindow(bundle.policy.observation, bundle.stats)
        self._streams, self._period_ns = bundle.policy.observation.streams, bundle.policy.observation.period_ns
        self._images, self._now_ns, self._count = images, self._period_ns, 0

    def once(self) -> float:
        """Answer the next observation; the time [ms]."""
        sample = {name: np.zeros(STREAM_WIDTHS[name]) for name in self._streams}
        if "eef_pose" in sample:
            sample["eef_pose"][:] = (0.5, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0)
        self._now_ns += self._period_ns
        self._count += 1
        begin = time.perf_counter()
        complete = self._window.add_image(self._now_ns, self._images[self._count % len(self._images)])
        for name, value in sample.items():
            complete = self._window.add(name, self._now_ns, value) or complete
        if not complete:
            raise RuntimeError("the window is not complete: the benchmark's own stamps are wrong")
        self._runtime.act(self._window.get())
        return 1e3 * (time.perf_counter() - begin)


def probe() -> float:
    """A fixed piece of arithmetic of a few milliseconds [ms]."""
    begin, total = time.perf_counter(), 0
    for i in range(60_000):
        total += i
    return 1e3 * (time.perf_counter() - begin)


def variants(folder: Path, threads: int, seed: int) -> dict[str, Callable[[], float]]:
    """What is timed, by name; a backend that this machine lacks is said and left out."""
    images = np.random.default_rng(seed).integers(0, 256, (8, HEIGHT, WIDTH, 3), dtype=np.uint8)
    policies = {"models/slide": Bundle.open(ROOT / "models/slide"), RECOMMENDED: recommended_bundle(folder, seed)}
    settings = {
        "openvino fp32": {"backend": "openvino"},
        "openvino bf16": {"backend": "openvino", "precision": "bf16"},
        "onnxruntime fp32": {"backend": "onnxruntime"},
    }
    found: dict[str, Callable[[], float]] = {}
    for policy, bundle in policies.items():
        for backend, setting in settings.items():
            try:
                answering = Answering(bundle, RuntimeConfig(steps=STEPS, threads=threads, seed=seed, **setting), images)
                found[f"{policy}, {backend}"] = answering.once
                sys.stdout.write(f"{policy}: {answering.engine}\n")
            except InferenceError as error:
                sys.stdout.write(f"left out: {backend}: {error}\n")
    return found


def stolen() -> int:
    """What the host has kept from this machine's cores since it was started [clock ticks]; 0 where there is none, or where it does not say."""
    counts = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    return int(counts[8]) if len(counts) > 8 else 0


@dataclass
class Times:
    """Times [ms] by name: of the turns in which the host kept nothing, of all turns, and of the first chunk of each of the former.

    A turn's first chunk is in neither of the others: it finds another policy's weights in the cache, and a robot has one policy.
    """

    ours: dict[str, list[float]]
    every: dict[str, list[float]]
    firsts: dict[str, list[float]]


def time_chunks(timed: dict[str, Callable[[], float]], chunks: int, kept_by_host: Callable[[], int] = stolen) -> Times:
    """``chunks`` chunks of each variant, and as many probes, in turns; fewer where the host leaves too few turns alone."""
    turns = {**timed, "probe": probe}
    for once in turns.values():
        for _ in range(WARM_UP):
            once()
    times = Times(*({name: [] for name in turns} for _ in range(3)))
    wanted = -(-chunks // BLOCK)
    with tqdm(total=wanted, desc=f"turns of {BLOCK} chunks", mininterval=1.0) as bar:
        for _ in range(MOST * wanted):
            for name, once in turns.items():
                before, first, values = kept_by_host(), once(), [once() for _ in range(BLOCK)]
                times.every[name] += values
                if kept_by_host() == before and len(times.ours[name]) < chunks:
                    times.firsts[name].append(first)
                    times.ours[name] += values
            done = min(len(values) for values in times.ours.values()) // BLOCK
            bar.update(done - bar.n)
            if done >= wanted:
                break
    return times


def peer_times(chunks: int, threads: int) -> dict[str, list[float]]:
    """LeRobot's DiffusionPolicy in its own environment; empty, and said, where that is not installed."""
    if not PEER_PYTHON.exists():
        sys.stdout.write("LeRobot is not installed beside us: tools/check_peers.sh --only-env makes its environment (2 GB)\n")
        return {}
    command = [str(PEER_PYTHON), "-W", "ignore", str(ROOT / "benchmarks/serving_peer.py"), "--chunks", str(chunks), "--threads", str(threads)]
    environment = {"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HOME": str(ROOT / "runs/peers/home"), "PYTHONPATH": str(ROOT / "src/cdp")}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.stdout.write("LeRobot's benchmark failed: see above; its environment may be of an older version: remove runs/peers and make it again\n")
        return {}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def report(times: Times, peers: dict[str, list[float]], slowest: float) -> None:
    """The table: percentiles, and the median as a multiple of ``slowest``, the peer's quickest where there is one, else our slowest.

    A percentile that the number of chunks does not carry is left out; ``firsts``, those that each turn begins with, have lines of their own.
    """
    heads = "".join(f"{head:>9}" for head in ("p50", "p90", "p99", "max", "chunks"))
    sys.stdout.write(f"{'':44}{heads}{'baseline / p50':>16}{'p99 of all':>12}{'chunks':>8}\n")
    for name, values in {**times.ours, **peers}.items():
        every = times.every.get(name, values)
        if values:
            baseline = slowest / percentiles(values, (50,))[0]
            sys.stdout.write(f"{name:44}{row(values)}{baseline:>16.1f}{percentile(every, 99):>12}{len(every):>8}\n")
        else:
            sys.stdout.write(f"{name:44}{'in no turn the cores were ours alone':>45}{'':16}{percentile(every, 99):>12}{len(every):>8}\n")
    sys.stdout.write("first of a turn, which finds the caches full of another policy:\n")
    for name, values in times.firsts.items():
        if values:
            sys.stdout.write(f"{name:44}{row(values)}\n")


def row(values: list[float]) -> str:
    """Percentiles, maximum and number."""
    return "".join(f"{percentile(values, at):>9}" for at in (50, 90, 99)) + f"{max(values):>9.2f}{len(values):>9}"


def percentile(values: list[float], at: int) -> str:
    """A percentile as the table says it: nothing where it would be one of the values beyond it."""
    return f"{percentiles(values, (at,))[0]:.2f}" if len(values) * (100 - at) >= 100 else "-"


def too_slow(values: list[float], steady: list[float], limit_ms: float) -> bool:
    """Whether p99 of ``values`` is above the limit on a machine whose probes, ``steady``, show that it is ours; says what they show."""
    if len(steady) < 100 or len(values) < 100:
        sys.stdout.write(f"this machine was not ours alone: of {MOST} times as many turns too few were left alone to judge a p99 by\n")
        return False
    p50, p99 = percentiles(steady)
    ours = p99 < STEADY * p50
    sys.stdout.write(f"standstill probe: its p99 is {p99 / p50:.2f} times its p50 ({'steady' if ours else 'this machine was not ours alone'})\n")
    return ours and percentiles(values, (99,))[0] > limit_ms


def main() -> int:
    """Run the benchmark; 1 where the recommended policy is too slow on a steady machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--chunks", type=int, default=400, help="chunks of each variant")
    parser.add_argument("--threads", type=int, default=2, help="threads of the networks")
    parser.add_argument("--seed", type=int, default=0, help="seed of images, weights and noise")
    parser.add_argument("--loop", type=int, default=0, metavar="EPISODES", help="also run the whole stack for so many episodes")
    parser.add_argument("--limit-ms", type=float, default=10.0, help="p99 of the recommended size under OpenVINO [ms]")
    parser.add_argument("--no-peer", action="store_true", help="leave LeRobot out")
    parser.add_argument("--no-check", action="store_true", help="print, never fail")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        timed = variants(Path(folder), arguments.threads, arguments.seed)
        times = time_chunks(timed, arguments.chunks)
        steady = times.ours.pop("probe")
        del times.every["probe"], times.firsts["probe"]
        peers = {} if arguments.no_peer else peer_times(max(3, arguments.chunks // 20), arguments.threads)
        medians = [percentiles(v, (50,))[0] for v in (peers or times.every).values()]
        report(times, peers, min(medians) if peers else max(medians))
        sys.stdout.write(
            f"milliseconds; baseline: {'the quickest of LeRobot' if peers else 'our slowest'}; {arguments.threads} threads, {STEPS} steps; "
            "of turns in which the host kept nothing of the cores' time, and of all\n"
        )
        slow = too_slow(times.ours[f"{RECOMMENDED}, openvino fp32"], steady, arguments.limit_ms)
        if arguments.loop:
            # ROS is for this part alone.
            from serving_loop import loop

            line = loop(arguments.loop, STEPS, Path(folder) / "loop")
            sys.stdout.write((line or "the whole stack failed: see above") + "\n")
            slow = slow or line is None
    return int(slow and not arguments.no_check)


if __name__ == "__main__":
    raise SystemExit(main())
