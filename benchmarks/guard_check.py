"""Random and adversarial chunks against the command guard: how near does what it sends come to each limit?

python benchmarks/guard_check.py --chunks 1000000 --seed 0

What is sent is in ``guard_chunks``, what is compared with the limits in ``guard_shares``. Work is done in blocks of 500 chunks, each with a seed of
its own, so that the figures are the same for any number of processes; with ``--out`` they can be interrupted and gone on with. Ends with 1 where a
limit is exceeded, where the guard raises an exception or where the arm hardly moved.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from guard_chunks import KINDS, Bench
from guard_shares import YES_NO, shares
from tqdm import tqdm

import cdp_franka

BLOCK = 500
# Rounding of positions in a third difference, for the tolerance of the verdict: 1e-5 of each limit.
TOLERANCE = 1e-5
# At least this share of the ticks is in motion, or the check has seen too little.
MOTION = 0.5


def run_block(task: tuple[int, int, int]) -> tuple[int, dict[str, float], Counter[str], str]:
    """Seed, block and number of chunks to: block, the greatest share of each limit, counts, and the exception's text or nothing."""
    seed, block, chunks = task
    bench, worst, error = Bench(block, seed), dict[str, float](), ""
    try:
        left = chunks
        while left > 0:
            left -= bench.chunks(left)
    except Exception:  # noqa: BLE001  whatever it is, it is a finding
        error = f"block {block}, tick {bench.ticks}: {traceback.format_exc()}"
    for run in [*bench.runs, bench.sent]:
        if run:
            found, moving = shares(run, bench.config)
            bench.counts["moving"] += moving
            worst = {name: max(worst.get(name, 0.0), found.get(name, 0.0)) for name in {**worst, **found}}
    return block, worst, bench.counts, error


class Results:
    """What the blocks found; kept in a file where one is named."""

    def __init__(self, header: dict[str, Any], path: Path | None) -> None:
        """Reads ``path`` where it exists. Raises ValueError where it is of another run or of other sources."""
        self.header, self.path = header, path
        self.done: set[int] = set()
        self.worst: dict[str, tuple[float, int]] = {}
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        if path is not None and path.exists():
            kept = json.loads(path.read_text())
            if kept["header"] != header:
                raise ValueError(f"{path} is of {kept['header']}, not of {header}; it was left as it is: name another file, or remove it")
            self.done, self.counts, self.errors = set(kept["done"]), Counter(kept["counts"]), kept["errors"]
            self.worst = {name: (share, block) for name, (share, block) in kept["worst"].items()}

    def add(self, block: int, worst: dict[str, float], counts: Counter[str], error: str) -> None:
        """Take in one block."""
        self.done.add(block)
        self.counts.update(counts)
        self.errors += [error] if error else []
        for name, share in worst.items():
            # The lower block where two are equal: the same whatever came first.
            share, negative = max((share, -block), (self.worst[name][0], -self.worst[name][1]) if name in self.worst else (share, -block))
            self.worst[name] = share, -negative
        if self.path is not None:
            found = {"header": self.header, "done": sorted(self.done), "worst": self.worst, "counts": self.counts, "errors": self.errors}
            fresh = self.path.with_suffix(".part")
            fresh.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
            fresh.replace(self.path)

    def failures(self) -> list[str]:
        """What is wrong, in words."""
        bad = [f"{name} (block {block})" for name, (share, block) in self.worst.items() if not share <= (0.0 if name in YES_NO else 1.0 + TOLERANCE)]
        bad += [f"{len(self.errors)} exceptions"] if self.errors else []
        return bad + ([f"fewer than {MOTION:.0%} of the ticks in motion"] if self.counts["moving"] < MOTION * self.ticks else [])

    @property
    def ticks(self) -> int:
        """Ticks in all states."""
        return sum(n for name, n in self.counts.items() if name.startswith("state "))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _shares_of(counts: Counter[str], prefix: str, total: int) -> str:
    chosen = Counter({name.removeprefix(prefix): n for name, n in counts.items() if name.startswith(prefix)})
    return ", ".join(f"{name} {100 * n / total:.2g} %" for name, n in chosen.most_common())


def report(results: Results) -> int:
    """Print it; 1 where something is wrong."""
    counts, ticks = results.counts, results.ticks
    sent = {kind: counts[f"sent {kind}"] for kind in ("fair", *KINDS)}
    refused = {kind: counts[f"refused {kind}"] for kind in sent}
    total = max(sum(sent.values()), 1)
    _say(f"{total} chunks, {100 * sum(refused.values()) / total:.1f} % refused; {ticks} ticks, {ticks / total:.2f} a chunk")
    _say("sent (of which refused): " + ", ".join(f"{kind} {n} ({refused[kind]})" for kind, n in sent.items()))
    moving, limited = (100 * counts[name] / max(ticks, 1) for name in ("moving", "limited"))
    _say(f"in motion at {moving:.1f} % of the ticks, held back by a limit at {limited:.1f} %")
    _say(f"states: {_shares_of(counts, 'state ', ticks)}; {counts['engaged']} engages, {counts['retreats']} retreats")
    _say(f"reasons: {_shares_of(counts, 'reason ', ticks)}")
    for name, (share, block) in sorted(results.worst.items()):
        _say(f"  {name}: " + ("never" if share == 0.0 else "SEEN" if name in YES_NO else f"{100 * share:.4f} % of the limit") + f" (block {block})")
    for error in results.errors[:3]:
        _say(error)
    bad = results.failures()
    _say(f"guard-check: {'FAILED: ' + ', '.join(bad) if bad else 'every command within every limit'}")
    return 1 if bad else 0


def _sources() -> str:
    """A hash of the guard's sources and of this check: figures of different ones are not added up."""
    files = [*sorted(Path(cdp_franka.__file__).parent.glob("*.py")), *sorted(Path(__file__).parent.glob("guard_*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; 1 works in this one")
    parser.add_argument(
        "--out", type=Path, default=None, help="JSON file of the results so far, written after every block; gone on with where it exists"
    )
    arguments = parser.parse_args()
    blocks = -(-arguments.chunks // BLOCK)
    header = {"seed": arguments.seed, "chunks": arguments.chunks, "sources": _sources()}
    try:
        results = Results(header, arguments.out)
    except ValueError as error:
        parser.error(str(error))
    tasks = [(arguments.seed, block, min(BLOCK, arguments.chunks - block * BLOCK)) for block in range(blocks) if block not in results.done]
    with tqdm(total=arguments.chunks, initial=arguments.chunks - sum(n for _, _, n in tasks), unit="chunk", mininterval=5.0) as bar:

        def take(found: Iterable[tuple[int, dict[str, float], Counter[str], str]]) -> None:
            for block, worst, counts, error in found:
                results.add(block, worst, counts, error)
                bar.update(min(BLOCK, arguments.chunks - block * BLOCK))

        if arguments.workers <= 1:
            take(map(run_block, tasks))
        else:
            # Numpy's threads would share the cores that the processes have.
            os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
            with get_context("spawn").Pool(arguments.workers) as pool:
                take(pool.imap_unordered(run_block, tasks))
    return report(results)


if __name__ == "__main__":
    sys.exit(main())
