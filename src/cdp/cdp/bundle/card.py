"""The card of a bundle: what the policy is, how it was made and what was measured, as a page that a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cdp.bundle.manifest import Manifest


@dataclass(frozen=True)
class Card:
    """What only the maker knows: everything else on the page is read from the manifest and the report."""

    summary: str
    commands: tuple[str, ...]
    """The exact commands that made the data and the policy, in order."""
    seeds: Mapping[str, int]
    limits: tuple[str, ...] = ()
    """What the policy was not tried on, or does badly."""


def render_card(manifest: Manifest, card: Card, report: Mapping[str, Any]) -> str:
    """Markdown of a card. Every scalar of ``report`` is listed, nested keys joined by a dot; lists are left to ``report.json``."""
    policy = manifest.policy
    observation = policy.observation
    facts = {
        "task": policy.task,
        "image": f"{observation.image_key}, {observation.image_size}x{observation.image_size} px",
        "low-dimensional": f"{', '.join(observation.lowdim_keys)} ({observation.lowdim_width} numbers)",
        "observation window": f"{observation.window} at {observation.rate_hz:g} Hz",
        "action": f"{policy.horizon} rows of {policy.action_width} ({policy.action_space}) at {observation.rate_hz:g} Hz",
        "sampler": f"{policy.solver}, {policy.steps} steps, {policy.schedule.grid} grid",
        "noise path": policy.schedule.kind,
        "dataset": policy.dataset or "(unnamed)",
        "dataset SHA-256": f"`{policy.dataset_sha256}`",
        "software": f"cdp {manifest.software_version}, {manifest.format}",
    }
    parts = [
        f"# {manifest.name}",
        card.summary,
        _table(("", ""), facts.items()),
        "## How it was made",
        "```sh\n" + "\n".join(card.commands) + "\n```",
        _table(("seed", "value"), ((name, str(value)) for name, value in card.seeds.items())),
        "`config.yaml` holds every setting, `manifest.json` the SHA-256 of every file.",
        "## Measured",
        _table(("figure", "value"), ((name, _text(value)) for name, value in _scalars(report))),
    ]
    if card.limits:
        parts += ["## Limits", "\n".join(f"- {limit}" for limit in card.limits)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: tuple[str, str], rows: Any) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines]) if lines else ""


def _scalars(report: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in report.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{key}.")
        elif not isinstance(value, (list, tuple)):
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
