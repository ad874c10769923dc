"""Add to a finished bundle what was found out after training: how its data were made, how it did on the robot."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cdp.bundle.manifest import CARD, FILES, MANIFEST, REPORT, Manifest, manifest_text, sha256_of
from cdp.bundle.place import put_in_place, synchronise
from cdp.bundle.reader import Bundle


def annotate(folder: str | Path, heading: str, text: str, key: str, figures: Mapping[str, Any]) -> Manifest:
    """Set the section ``heading`` of the card to ``text`` (Markdown), and ``key`` of the report to ``figures`` (JSON data); hashes follow.

    An older section or entry of that name is replaced. The bundle is changed whole or not at all. Raises :class:`cdp.bundle.BundleError` for a
    folder that holds no sound bundle.
    """
    path = Path(folder).absolute()
    bundle = Bundle.open(path)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.part-", dir=path.parent))
    try:
        shutil.copytree(path, part, dirs_exist_ok=True)
        report = json.loads((part / REPORT).read_text(encoding="utf-8"))
        report[key] = dict(figures)
        (part / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (part / CARD).write_text(_with_section((part / CARD).read_text(encoding="utf-8"), heading, text), encoding="utf-8")
        manifest = replace(bundle.manifest, files={name: sha256_of(part / name) for name in FILES})
        (part / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
        synchronise(part)
        put_in_place(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _with_section(card: str, heading: str, text: str) -> str:
    section = f"## {heading}\n\n{text.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(card):
        return pattern.sub(lambda _: section + "\n", card).rstrip() + "\n"
    return f"{card.rstrip()}\n\n{section}"
