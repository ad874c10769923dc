"""``cdp study``: run one of the studies."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from cdp.studies.frame import DEFAULT_SEEDS, STUDIES, StudyRun, run_study

FOLDER = Path("docs/studies")
CACHE = Path("runs/studies")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    lines = "\n".join(f"  {name:19s}{line}" for name, (_, line) in STUDIES.items())
    parser = subparsers.add_parser(
        "study",
        help="run a study and write its figure and numbers",
        description=f"Run a study: figures, results.json and README.md.\n\nstudies:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=sorted(STUDIES), metavar="name", help="one of the studies above")
    parser.add_argument("--seed", type=int, nargs="+", default=list(DEFAULT_SEEDS), help="seeds, one training each (default: 0 1 2)")
    parser.add_argument("--out", type=Path, help=f"folder of the results (default: {FOLDER}/<name>, with --quick {CACHE}/<name>-quick)")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"folder of the trained models, which studies share (default: {CACHE})")
    parser.add_argument("--quick", action="store_true", help="a version of seconds that shows nothing but that the study runs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> str:
    """Run the study; the summary line. Raises :class:`cdp.studies.frame.StudyError` where what it checks does not hold."""
    # Small matrices: one thread is the fastest, and the sums come out the same on any number of cores.
    torch.set_num_threads(1)
    out = args.out or (args.cache / f"{args.name}-quick" if args.quick else FOLDER / args.name)
    seeds = tuple(dict.fromkeys(args.seed))
    outcome = run_study(args.name, StudyRun(seeds, args.quick, out, args.cache))
    return f"study {args.name}: {outcome.summary}; written to {out}"
