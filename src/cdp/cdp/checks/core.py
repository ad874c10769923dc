"""``cdp core-check``: every closed-form check of the core, as a table of figures with their tolerances."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cdp import __version__
from cdp.checks import contraction, diffusion
from cdp.checks.figure import Figure, Suite

#: In the order of the table. A part of the core adds its own :class:`Suite` here.
SUITES: tuple[Suite, ...] = (diffusion.SUITE, contraction.SUITE)


def register(subparsers: Any) -> None:
    """Add ``core-check`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "core-check", help="check samplers, estimators and gradients against closed forms", description="Measure the core against closed forms."
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of every random draw")
    parser.add_argument("--out", type=Path, help="folder for core.json and the plots")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print the table and the summary; 1 where a figure misses its range."""
    figures = measure(SUITES, args.seed)
    sys.stdout.write(table(figures) + "\n")
    written = write(args.out, figures, SUITES, args.seed) if args.out is not None else []
    failed = [figure for figure in figures if not figure.holds]
    checks = len({figure.check for figure in figures})
    where = f"; wrote {', '.join(map(str, written))}" if written else ""
    if failed:
        sys.stdout.write(f"core-check: {len(failed)} of {len(figures)} figures in {checks} checks FAILED, first {failed[0].name}{where}\n")
        return 1
    sys.stdout.write(f"core-check: all {len(figures)} figures of {checks} checks hold{where}\n")
    return 0


def measure(suites: Sequence[Suite], seed: int) -> list[Figure]:
    """Every figure of every suite. Raises ValueError for a check without any, which could not fail."""
    checks = [(name, check) for suite in suites for name, check in suite.checks.items()]
    figures: list[Figure] = []
    with tqdm(checks, unit="check", dynamic_ncols=True, file=sys.stderr, leave=False) as bar:
        for name, check in bar:
            bar.set_description(name)
            measured = check(seed)
            if not measured:
                raise ValueError(f"the check {name!r} measured nothing")
            figures += measured
    return figures


def table(figures: Sequence[Figure]) -> str:
    """The figures as aligned text, under the name of each check."""
    width = max(len(figure.name) for figure in figures)
    lines = []
    for i, figure in enumerate(figures):
        if i == 0 or figure.check != figures[i - 1].check:
            lines.append(figure.check)
        lines.append(f"  {figure.name:<{width}}  {figure.value:>11.5g}  allowed {figure.allowed:<16}  {'ok' if figure.holds else 'FAILED'}")
    return "\n".join(lines)


def write(folder: Path, figures: Sequence[Figure], suites: Sequence[Suite], seed: int) -> list[Path]:
    """``core.json`` and the suites' plots in ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "command": f"cdp core-check --seed {seed} --out {folder}",
        "seed": seed,
        "versions": {"cdp": __version__, "numpy": np.__version__},
        "figures": [{**asdict(figure), "holds": figure.holds} for figure in figures],
    }
    path = folder / "core.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return [path, *(plot(folder, seed) for suite in suites for plot in suite.plots)]
