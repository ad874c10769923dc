"""What is kept of an evaluation: one file, written anew and whole after every rollout, so that an interruption loses nothing."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdp.evaluation.plan import Candidate, Rollout

FORMAT = "cdp-evaluation-1"
NAME = "evaluation.json"


class EvaluationError(RuntimeError):
    """An evaluation that cannot begin or go on; the message says what was kept and what to do."""


@dataclass(frozen=True)
class RolloutResult:
    """One rollout that counts. Times are of the robot's clock [s]; figures that nobody measured are None."""

    index: int
    policy: str
    start: int
    seed: int
    success: bool
    judge: str
    reason: str
    message: str
    duration_s: float
    interventions: int = 0
    guard_holds: int = 0
    chunks: int = 0
    late_chunks: int = 0
    latency_p50_ms: float | None = None
    latency_max_ms: float | None = None
    spread: float | None = None
    lipschitz: float | None = None
    ood_share: float | None = None
    recording: str = ""
    verdict: str = ""
    redone: int = 0
    ended_utc: str = ""


@dataclass
class Evaluation:
    """Setup, plan and results so far, in ``path``."""

    path: Path
    setup: dict[str, Any]
    candidates: tuple[Candidate, ...]
    plan: tuple[Rollout, ...]
    results: list[RolloutResult] = field(default_factory=list)

    @property
    def pending(self) -> tuple[Rollout, ...]:
        """What is still to be run, in its order."""
        done = {result.index for result in self.results}
        return tuple(rollout for rollout in self.plan if rollout.index not in done)

    def of(self, policy: str) -> list[RolloutResult]:
        """The results of one policy, by start."""
        return sorted((r for r in self.results if r.policy == policy), key=lambda r: r.start)

    def candidate(self, policy: str) -> Candidate:
        """The policy of that name."""
        return next(c for c in self.candidates if c.name == policy)

    def add(self, result: RolloutResult) -> None:
        """Keep a result and write the file; it is on the disk when this returns. A recording below the file's folder is named relative to it."""
        recording, folder = Path(result.recording), self.path.parent
        if recording.is_relative_to(folder):
            result = dataclasses.replace(result, recording=str(recording.relative_to(folder)))
        self.results.append(result)
        self.write()

    def write(self, further: Mapping[str, Any] | None = None) -> None:
        """Write the file: a reader sees the old one or the whole new one."""
        content = {
            "format": FORMAT,
            "setup": self.setup,
            "policies": [dataclasses.asdict(c) for c in self.candidates],
            "plan": [dataclasses.asdict(r) for r in self.plan],
            "rollouts": [dataclasses.asdict(r) for r in self.results],
            **(further or {}),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.part")
        with part.open("w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)


def open_evaluation(path: Path, setup: Mapping[str, Any], candidates: Sequence[Candidate], plan: Sequence[Rollout], *, resume: bool) -> Evaluation:
    """A new evaluation in ``path``, or with ``resume`` the one that is there, which must have been begun alike.

    Raises :class:`EvaluationError` where results are there without ``resume``, where none is there with it, or where setup, policies or plan differ.
    """
    fresh = Evaluation(path, dict(setup), tuple(candidates), tuple(plan))
    if not resume:
        if path.exists() and load_evaluation(path).results:
            raise EvaluationError(f"{path} holds an evaluation; nothing was touched. Go on with it by --resume, or give another --out")
        fresh.write()
        return fresh
    kept = load_evaluation(path)
    for key in sorted(kept.setup.keys() | fresh.setup.keys()):
        before, now = kept.setup.get(key), fresh.setup.get(key)
        if before != now:
            raise EvaluationError(f"{path} was begun with {key} {before!r}, not {now!r}: give the same again, or another --out")
    for before, now in zip(kept.candidates, fresh.candidates, strict=False):
        if (before.name, before.sha256) != (now.name, now.sha256):
            raise EvaluationError(f"{path} was begun with policy {before.name} ({before.sha256[:12]}), not {now.name} ({now.sha256[:12]})")
    if kept.plan != fresh.plan:
        raise EvaluationError(
            f"{path} was begun with another plan of {len(kept.plan)} rollouts, not {len(fresh.plan)}: give the same arguments again"
        )
    return Evaluation(path, fresh.setup, fresh.candidates, fresh.plan, kept.results)


def load_evaluation(path: Path) -> Evaluation:
    """The evaluation in ``path``. Raises :class:`EvaluationError` where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise EvaluationError(f"{path} is of format {content['format']!r}, not {FORMAT!r}")
        return Evaluation(
            path,
            content["setup"],
            tuple(Candidate(**c) for c in content["policies"]),
            tuple(Rollout(**r) for r in content["plan"]),
            [RolloutResult(**r) for r in content["rollouts"]],
        )
    except FileNotFoundError:
        raise EvaluationError(f"{path} is not there: nothing to go on with; begin without --resume") from None
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path} is no evaluation of this version: {error}") from None


def known(value: float) -> float | None:
    """None for NaN."""
    return None if math.isnan(value) else float(value)
