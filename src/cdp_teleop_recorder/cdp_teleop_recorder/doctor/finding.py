"""What a probe says, and running probes so that none can stop the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``fix`` is a command line that can be pasted, or a sentence where no command does it; empty where all is well."""

    name: str
    verdict: Verdict
    text: str
    fix: str = ""


Probe = Callable[[], Iterable[Finding]]


def examine(probes: Mapping[str, Probe]) -> list[Finding]:
    """The findings of all probes, in their order. One that raises becomes a warning that it could not look."""
    findings: list[Finding] = []
    for name, probe in probes.items():
        try:
            findings.extend(probe())
        except Exception as error:  # noqa: BLE001  # a probe reads foreign files and sockets: whatever goes wrong there must not hide the rest
            findings.append(Finding(name, "warn", f"could not be looked at: {type(error).__name__}: {error}"))
    return findings


def failed(findings: Iterable[Finding]) -> bool:
    """Whether something has to be put right before the arm moves."""
    return any(finding.verdict == "fail" for finding in findings)


def as_text(findings: Iterable[Finding]) -> str:
    """A line a finding, its fix below it, and a count at the end."""
    found = list(findings)
    lines = []
    for finding in found:
        lines.append(f"{finding.verdict:4}  {finding.name:16} {finding.text}")
        lines += [f"{'':23}$ {line}" if _is_command(line) else f"{'':23}-> {line}" for line in finding.fix.splitlines()]
    counts = {verdict: sum(finding.verdict == verdict for finding in found) for verdict in ("ok", "warn", "fail")}
    return "\n".join([*lines, "", ", ".join(f"{count} {verdict}" for verdict, count in counts.items())])


def as_json(findings: Iterable[Finding]) -> str:
    """``{"ok": bool, "findings": [{name, verdict, text, fix}, ...]}``."""
    found = list(findings)
    return json.dumps({"ok": not failed(found), "findings": [asdict(finding) for finding in found]}, indent=2)


def _is_command(line: str) -> bool:
    return line.split(" ", 1)[0] in {"sudo", "export", "echo", "printf", "cdp", "pip", "ros2", "ping", ".", "make", "rm", "mkdir", "xdg-open", "ip"}
