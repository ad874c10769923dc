"""Add to a finished bundle what was found out after training: how its data were made, how it did on the robot."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdp.bundle.change import change
from cdp.bundle.manifest import CARD, REPORT, Manifest


def annotate(folder: str | Path, heading: str, text: str, key: str, figures: Mapping[str, Any]) -> Manifest:
    """Set the section ``heading`` of the card to ``text`` (Markdown), and ``key`` of the report to ``figures`` (JSON data); hashes follow.

    An older section or entry of that name is replaced. The bundle is changed whole or not at all. Raises :class:`cdp.bundle.BundleError` for a
    folder that holds no sound bundle.
    """

    def edit(part: Path) -> None:
        set_figures(part, key, figures)
        set_section(part, heading, text)

    return change(folder, edit)


def set_figures(folder: Path, key: str, figures: Mapping[str, Any]) -> None:
    """Set ``key`` of the report in ``folder`` to ``figures`` (JSON data)."""
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    report[key] = dict(figures)
    (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def set_section(folder: Path, heading: str, text: str) -> None:
    """Set the section ``heading`` of the card in ``folder`` to ``text`` (Markdown)."""
    (folder / CARD).write_text(_with_section((folder / CARD).read_text(encoding="utf-8"), heading, text), encoding="utf-8")


def _with_section(card: str, heading: str, text: str) -> str:
    section = f"## {heading}\n\n{text.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(card):
        return pattern.sub(lambda _: section + "\n", card).rstrip() + "\n"
    return f"{card.rstrip()}\n\n{section}"
