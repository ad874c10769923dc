"""``cdp report``: from bundles to measured contraction, as JSON, a table, plots and a page."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

DEFAULT_TEMPERATURES = (0.0, 0.3, 0.5, 0.7)
FORMAT = "cdp-report-1"

EXAMPLES = """examples:
  cdp report models/slide                                    on the demonstrations that it was trained on, held-out split
  cdp report models/slide --baseline models/slide-gamma0     the same policy trained without the penalty beside it
  cdp report models/slide --observations synthetic           where no demonstrations are at hand; labelled as such
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    parser = subparsers.add_parser(
        "report",
        help="measure how contractive the samplers of bundles are",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("bundle", type=Path, help="folder of a policy bundle")
    add("--baseline", type=Path, action="append", default=[], help="bundle to measure beside it, e.g. the same training with gamma 0; again for more")
    add(
        "--control-temperature",
        type=_temperature,
        nargs="*",
        default=list(DEFAULT_TEMPERATURES),
        help="also sample each bundle from noise of these standard deviations (default 0 0.3 0.5 0.7; nothing after it for none)",
    )
    add("--observations", default=None, help="demonstrations (HDF5), their validation split, or synthetic (default: the file the bundle names)")
    add("--count", type=_positive, default=16, help="observations (default 16)")
    add("--seeds", type=_at_least_two, default=64, help="noise seeds an observation (default 64)")
    add("--costly-seeds", type=_positive, default=2, help="of them, those for figures that need Jacobians or many steps (default 2)")
    add("--steps", type=_positive, default=None, help="sampler steps of every column (default: the bundle's)")
    add("--solver", default=None, help="solver of every column (default: the bundle's)")
    add("--mode-distance", type=float, default=None, help="actions closer than this (rms, normalised) belong to one mode (default 0.25)")
    add("--seed", type=int, default=0, help="seed of every noise (default 0)")
    add("--precision", choices=("fp32", "fp64"), default="fp32", help="fp64 takes about twice as long")
    add("--threads", type=int, default=0, help="CPU threads of torch (default: torch's own choice)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to measure (default auto)")
    add("--out", type=Path, default=None, help="folder of the report (default runs/report-<bundle>)")
    add("--record", action="store_true", help="write the headline figures into the bundle's card and report.json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, write, print the table and the summary line. Raises the errors of its parts, each with a message for the user."""
    from cdp.bundle.annotate import annotate
    from cdp.report.page import HEADING, headline_figures, page, section, summary_line
    from cdp.report.plots import draw
    from cdp.report.table import text_table

    report = make_report(args)
    out = args.out or Path("runs") / f"report-{args.bundle.resolve().name}"
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (out / "report.md").write_text(page(report, draw(report["columns"], out)), encoding="utf-8")
    sys.stdout.write(f"observations: {report['observations']['text']}\n{text_table(report['columns'])}\n")
    if args.record:
        annotate(args.bundle, HEADING, section(report), "contraction_report", headline_figures(report))
    sys.stdout.write(summary_line(report, str(out / "report.md")) + "\n")
    return 0


def make_report(args: argparse.Namespace) -> dict[str, Any]:
    """The whole report, JSON data. Raises the errors of its parts."""
    import torch
    from tqdm import tqdm

    from cdp.bundle.reader import Bundle
    from cdp.config import from_mapping, to_mapping
    from cdp.report.build import Plan, build
    from cdp.report.columns import Measuring
    from cdp.report.observations import choose_observations
    from cdp.train.commands import choose_device

    asked = {name: value for name in ("seeds", "costly_seeds", "mode_distance", "seed") if (value := getattr(args, name)) is not None}
    measuring = from_mapping(Measuring, asked)
    bundles = [Bundle.open(path) for path in (args.bundle, *args.baseline)]
    first = bundles[0].policy
    plan = Plan(
        bundles=bundles,
        temperatures=args.control_temperature,
        steps=args.steps or first.steps,
        solver=args.solver or first.solver,
        measuring=measuring,
        precision=args.precision,
        device=choose_device(args.device),
    )
    if args.threads:
        torch.set_num_threads(args.threads)
    observations = choose_observations(args.observations, bundles[0], args.count, args.seed)
    with tqdm(total=plan.parts, unit="part", dynamic_ncols=True, file=sys.stderr) as bar:

        def show(column: str) -> None:
            bar.set_description(column, refresh=False)
            bar.update()

        built = build(plan, observations, show)
    command = shlex.join(["cdp", *_words(args)])
    return {"format": FORMAT, "command": command, "measuring": to_mapping(measuring), "precision": args.precision, **built}


def _words(args: argparse.Namespace) -> list[str]:
    words = ["report", str(args.bundle)]
    for baseline in args.baseline:
        words += ["--baseline", str(baseline)]
    if tuple(args.control_temperature) != DEFAULT_TEMPERATURES:
        words += ["--control-temperature", *(f"{t:g}" for t in args.control_temperature)]
    if args.observations is not None:
        words += ["--observations", args.observations]
    for name in ("count", "seeds", "costly_seeds", "steps", "solver", "mode_distance", "seed", "precision"):
        value = getattr(args, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def _temperature(word: str) -> float:
    value = float(word)
    if not 0.0 <= value <= 10.0:
        raise argparse.ArgumentTypeError(f"{word} is outside [0, 10]")
    return value


def _positive(word: str) -> int:
    value = int(word)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{word} is below 1")
    return value


def _at_least_two(word: str) -> int:
    value = int(word)
    if value < 2:
        raise argparse.ArgumentTypeError(f"{word} is below 2: a spread needs two")
    return value
