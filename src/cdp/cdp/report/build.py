"""The columns of a report: each bundle, and each bundle at reduced temperatures, on the same observations and noise."""

from __future__ import annotations

import itertools
import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from cdp.bundle.manifest import CONFIG, REPORT, WEIGHTS
from cdp.bundle.policy import chunk_difference, load_policy
from cdp.bundle.reader import Bundle
from cdp.contraction.report_sampler import Sampler
from cdp.report.columns import PARTS, Measuring, measure_column
from cdp.report.observations import Observations

_PRECISIONS = {"fp32": torch.float32, "fp64": torch.float64}
# At another temperature the sampler is the same: what its steps and solver do to a state is measured once.
_CONTROL_PARTS = ("lipschitz", "violation", "spread")


class ReportError(ValueError):
    """A report that cannot be made; one line that says why."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how: ``bundles`` the policy first and its baselines after it, all by one solver in as many steps."""

    bundles: Sequence[Bundle]
    temperatures: Sequence[float]
    steps: int
    solver: str
    measuring: Measuring
    precision: str
    device: torch.device

    def __post_init__(self) -> None:
        first = self.bundles[0]
        for bundle in self.bundles[1:]:
            have, need = ((b.policy.horizon, b.policy.action_width) for b in (bundle, first))
            if have != need:
                raise ReportError(f"{bundle.path}: chunks of {have} cannot stand beside chunks of {need} of {first.path}")

    @property
    def controls(self) -> list[float]:
        """The temperatures other than 1, each once."""
        return [t for t in dict.fromkeys(self.temperatures) if t != 1.0]

    @property
    def parts(self) -> int:
        """How often ``progress`` is heard."""
        return len(self.bundles) * (len(PARTS) + len(_CONTROL_PARTS) * len(self.controls))


def build(plan: Plan, observations: Observations, progress: Callable[[str], None]) -> dict[str, Any]:
    """``observations`` (facts) and ``columns``, JSON data; ``progress`` hears the column of each part that is done.

    Raises :class:`ReportError` for figures that are not finite, and the errors of bundles and data files.
    """
    names = _names([bundle.path for bundle in plan.bundles])
    columns: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    for index, (name, bundle) in enumerate(zip(names, plan.bundles, strict=True)):
        policy = load_policy(bundle)
        about = {**bundle_facts(bundle), "onnx_max_abs_difference": chunk_difference(bundle, policy)}
        seen = observations.conditions(bundle, policy)
        facts = facts or seen.facts
        dtype = _PRECISIONS[plan.precision]
        policy, cond = policy.to(plan.device, dtype), seen.cond.to(plan.device, dtype)
        shape = (bundle.policy.horizon, bundle.policy.action_width)
        for temperature in (1.0, *plan.controls):
            control = temperature != 1.0
            title = f"{name} at {temperature:g}" if control else name
            sampler = Sampler(policy.denoise, cond, shape, bundle.policy.schedule, plan.solver, plan.steps, temperature)
            parts = _CONTROL_PARTS if control else PARTS
            measured = measure_column(sampler, plan.measuring, parts, lambda _, title=title: progress(title))  # type: ignore[misc]
            column = {
                "name": title,
                "kind": "temperature" if control else "baseline" if index else "bundle",
                "temperature": temperature,
                "solver": plan.solver,
                "steps": plan.steps,
                **about,
                "measured": measured,
            }
            columns.append({**column, "task_success": []} if control else column)
    built = {"observations": facts, "columns": columns}
    _check_finite(built)
    return built


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """What the bundle says of its training and of its success at the task."""
    config = yaml.safe_load((bundle.path / CONFIG).read_text(encoding="utf-8")) or {}
    contraction = config.get("contraction") or {}
    gamma = contraction.get("gamma")
    return {
        "bundle": str(bundle.path),
        "label": "diffusion" if gamma == 0.0 else contraction.get("label", "unknown"),
        "gamma": gamma,
        "noise_path": bundle.policy.schedule.kind,
        "weights_sha256": bundle.manifest.files[WEIGHTS],
        "task_success": task_success(json.loads((bundle.path / REPORT).read_text(encoding="utf-8"))),
    }


def task_success(recorded: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The results of ``cdp eval --record`` in a bundle's ``report.json``: successes of trials, with the solver and steps they were run with."""
    found = []
    for key, entry in recorded.items():
        if not (key.startswith("evaluation") and isinstance(entry, Mapping) and {"successes", "trials"} <= set(entry)):
            continue
        options = dict(itertools.pairwise(shlex.split(entry.get("command", ""))))
        found.append(
            {
                "evaluation": key,
                "successes": entry["successes"],
                "trials": entry["trials"],
                "solver": options.get("--solver", "unknown"),
                "steps": options.get("--steps", "unknown"),
            }
        )
    return found


def _names(paths: Sequence[Path]) -> list[str]:
    """Last parts of the paths, or the whole paths where those are not all different."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _check_finite(value: Any, where: str = "") -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_finite(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _check_finite(inner, f"{where}[{i}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ReportError(f"{where} is {value}: the sampler does not stay finite; check the weights of the bundle")
