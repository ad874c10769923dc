"""What every study has in common: where it writes, how its command is told, and how it fails."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cdp import __version__

#: Module of each study, which has a function ``study(StudyRun) -> Outcome``, and the line that ``cdp study --help`` shows.
STUDIES = {
    "toy": ("cdp.studies.toy", "2-D toy: flows and samples with and without contraction, against their controls"),
    "steps-solver": ("cdp.studies.steps_solver", "success on the toy by number of steps and solver"),
    "low-data": ("cdp.studies.low_data", "success on the toy from a part of the demonstrations"),
    "slide": ("cdp.studies.slide", "contraction on the slide task: denoisers on one encoder, their controls, success in simulation"),
    "diversity": ("cdp.studies.diversity", "modes kept on the toy, by weight of the penalty"),
    "cross-schedule": ("cdp.studies.cross_schedule", "noise paths on the toy, each sampled along the others too"),
    "ode-sde": ("cdp.studies.ode_sde", "deterministic and stochastic solvers on the same networks of the toy"),
    "state-sensitivity": ("cdp.studies.state_sensitivity", "what contraction in the noise does to the sensitivity to the state"),
    "joins": ("cdp.studies.joins", "what the arm is sent where one chunk takes over from another, by join and delay"),
    "gamma": ("cdp.studies.gamma", "fixed weights of the penalty against gamma auto, and what cheaper penalties do"),
}
DEFAULT_SEEDS = (0, 1, 2)
RESULTS, README = "results.json", "README.md"


class StudyError(RuntimeError):
    """A study whose own check does not hold; the message says which and where the files are."""


@dataclass(frozen=True)
class StudyRun:
    """One run of a study: ``seeds``, one training each; ``quick`` for a version of seconds; trained models are kept in ``cache``."""

    seeds: tuple[int, ...]
    quick: bool
    out: Path
    cache: Path


@dataclass(frozen=True)
class Outcome:
    """What a study found: ``results`` for JSON, the ``report`` in Markdown, one ``summary`` line, and each check that failed."""

    results: Mapping[str, Any]
    report: str
    summary: str
    failures: tuple[str, ...] = ()


def run_study(name: str, run: StudyRun) -> Outcome:
    """Run the study ``name`` and write its figures, ``results.json`` and ``README.md`` into ``run.out``.

    Raises KeyError for an unknown name, and :class:`StudyError` where a check of the study failed; the files are written all the same.
    """
    study: Callable[[StudyRun], Outcome] = importlib.import_module(STUDIES[name][0]).study
    run.out.mkdir(parents=True, exist_ok=True)
    outcome = study(run)
    command = command_of(name, run)
    head = {"study": name, "command": command, "seeds": list(run.seeds), "quick": run.quick, "cdp": __version__, "torch": torch.__version__}
    text = json.dumps({**head, **outcome.results, "failures": list(outcome.failures)}, indent=1, allow_nan=False)
    (run.out / RESULTS).write_text(text + "\n", encoding="utf-8")
    warning = "\nThe quick version: its numbers show nothing but that the study runs.\n" if run.quick else ""
    (run.out / README).write_text(f"{outcome.report.rstrip()}\n\n## Command\n```\n{command}\n```\n{warning}", encoding="utf-8")
    if outcome.failures:
        raise StudyError(f"study {name}: {'; '.join(outcome.failures)}; its files are in {run.out}")
    return outcome


def command_of(name: str, run: StudyRun) -> str:
    """The command line that makes these results again."""
    return " ".join(["cdp", "study", name, "--seed", *map(str, run.seeds), *(["--quick"] if run.quick else [])])


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (0 for one value) and the values themselves, one a seed."""
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)
    return {"mean": mean, "std": math.sqrt(variance), "seeds": list(values)}


def cell(figure: Mapping[str, Any], digits: int = 2) -> str:
    """``mean ± std`` of a :func:`spread`, for a table."""
    return f"{figure['mean']:.{digits}f} ± {figure['std']:.{digits}f}"


def wide_cell(figure: Mapping[str, Any]) -> str:
    """As :func:`cell`, with two significant digits of a figure that spans orders of magnitude."""
    return f"{short(figure['mean'], 2)} ± {short(figure['std'], 1)}"


def short(value: float, digits: int) -> str:
    """Significant digits below ten, whole numbers above."""
    return f"{value:.0f}" if abs(value) >= 10.0 else f"{value:.{digits}g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
