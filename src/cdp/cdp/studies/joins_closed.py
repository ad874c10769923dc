"""Success in simulation by join and delay, through the simulator that is installed: this package knows of none."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

from cdp.runtime import JoinConfig, PolicyRuntime
from cdp.studies.joins_replay import DelayedWorker
from cdp.studies.slide_rollouts import FIRST_SCENE, simulator, summarise


def closed_loop(runtime: PolicyRuntime, join: JoinConfig, delay_s: float, episodes: int, cache: Path) -> dict[str, Any] | None:
    """Successes of ``episodes`` scenes, each chunk coming ``delay_s`` of simulated time late; kept in ``cache``. None without a simulator.

    The noise of each episode begins anew from the runtime's seed.
    """
    path = cache / f"joins-rollout-{_identity(runtime, join, delay_s, episodes)}.json"
    if path.is_file():
        return summarise(json.loads(path.read_text(encoding="utf-8")))
    run = simulator(runtime.bundle.policy.task)
    if run is None:
        return None
    scenes = range(FIRST_SCENE, FIRST_SCENE + episodes)
    found = run(runtime, scenes, join=join, worker=partial(DelayedWorker, delay_ns=round(1e9 * delay_s)))
    cache.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return summarise(found)


def _identity(runtime: PolicyRuntime, join: JoinConfig, delay_s: float, episodes: int) -> str:
    """Hash of what the episodes depend on."""
    files = runtime.bundle.manifest.files
    return hashlib.sha256(f"{sorted(files.items())} {runtime.config} {join} {delay_s} {episodes}".encode()).hexdigest()[:16]
