"""What a run of episodes came to: one record an episode, the success rate with its interval, the latencies; as JSON and as one line."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdp.statistics import percentiles, wilson_interval

FORMAT = "cdp-episodes-1"


@dataclass(frozen=True)
class EpisodeResult:
    """One episode. Times are of the simulation [s], distances in the table plane [m].

    ``commands``, of a policy in lock-step: how many commands the guard sent, and their :class:`~cdp_franka_sim.command_digest.CommandDigest`.
    """

    seed: int
    success: bool
    duration_s: float
    distance_m: float
    ended: str
    recording: str = ""
    commands: str = ""


@dataclass
class RunResults:
    """All episodes of a run, what was run, and over all of them the latencies and the times between two images [ms]."""

    setup: dict[str, Any]
    episodes: list[EpisodeResult] = field(default_factory=list)
    observation_to_command_ms: list[float] = field(default_factory=list)
    inference_ms: list[float] = field(default_factory=list)
    image_gaps_ms: list[float] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def successes(self) -> int:
        """Episodes that the simulator judged a success."""
        return sum(e.success for e in self.episodes)

    def to_json(self) -> dict[str, Any]:
        """JSON-able mapping; percentiles without samples are null."""
        count = len(self.episodes)
        low, high = wilson_interval(self.successes, count) if count else (math.nan, math.nan)
        return {
            "format": FORMAT,
            "setup": self.setup,
            "episodes": [dataclasses.asdict(e) for e in self.episodes],
            "successes": self.successes,
            "trials": count,
            "success_rate": _number(self.successes / count if count else math.nan),
            "wilson_95": [_number(low), _number(high)],
            "observation_to_command_ms": _latency(self.observation_to_command_ms),
            "inference_ms": _latency(self.inference_ms),
            "camera": self._camera(),
            "files": self.files,
        }

    def _camera(self) -> dict[str, Any]:
        """Rate of the images' stamps during episodes [Hz], and the time between two of them [ms]."""
        gaps = self.image_gaps_ms
        return {"rate_hz": 1000.0 * len(gaps) / sum(gaps) if gaps else None, "gap_ms": _latency(gaps)}

    def write(self, path: Path) -> None:
        """Write the JSON atomically: a reader sees the old file or the whole new one."""
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        part.replace(path)

    def summary(self) -> str:
        """The figures in one line."""
        return summary_line(self.to_json())


def summary_line(results: dict[str, Any]) -> str:
    """One line of the figures in a results mapping, e.g. read back from results.json."""
    parts = []
    if results["trials"]:
        low, high = (100 * v for v in results["wilson_95"])
        parts.append(f"success {results['successes']}/{results['trials']} ({100 * results['success_rate']:.0f} %, 95 % CI {low:.0f}-{high:.0f} %)")
    else:
        parts.append("no episode finished")
    for key, name in (("observation_to_command_ms", "observation-to-command"), ("inference_ms", "sampling")):
        figures = results[key]
        if figures["count"]:
            parts.append(f"{name} p50 {figures['p50']:.1f} ms p99 {figures['p99']:.1f} ms")
    camera = results.get("camera", {"rate_hz": None})
    if camera["rate_hz"] is not None:
        parts.append(f"camera {camera['rate_hz']:.1f} Hz (gap p99 {camera['gap_ms']['p99']:.0f} ms)")
    parts.extend(f"{name} {path}" for name, path in results["files"].items())
    return ", ".join(parts)


def _latency(values: list[float]) -> dict[str, Any]:
    p50, p99 = percentiles(values)
    return {"p50": _number(p50), "p99": _number(p99), "count": len(values)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
