"""Success of a study's policy in simulation, through the simulator that is installed: this package knows of none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdp.bundle.reader import Bundle
from cdp.runtime import InferenceError, PolicyRuntime, RuntimeConfig
from cdp.runtime.policy import Given
from cdp.statistics import wilson_interval

GROUP = "cdp.rollouts"
FIRST_SCENE = 200_000

#: Unit noise (B, T, D) and conditions (B, C) to actions (B, T, D).
Act = Callable[[Tensor, Tensor], Tensor]


class StudyRuntime(PolicyRuntime):
    """A bundle's encoder with another sampler behind it, e.g. one that has no bundle."""

    def __init__(self, bundle: Bundle, act: Act, seed: int) -> None:
        self._act = act
        super().__init__(bundle, RuntimeConfig(seed=seed))

    def _sample(
        self,
        config: RuntimeConfig,
        condition: NDArray[np.float32],
        noise: NDArray[np.float32],
        level: float | None = None,
        given: Given | None = None,
    ) -> NDArray[np.float32]:
        # A warm-up asks for agreement of no weight.
        if level is not None or (given is not None and np.any(given.weights)):
            raise InferenceError("a study's sampler starts from noise and agrees with no earlier chunk; set initial_noise to random and join to hard")
        with torch.no_grad():
            return np.asarray(self._act(torch.from_numpy(noise), torch.from_numpy(condition)).numpy(), dtype=np.float32)


def simulator(task: str) -> Callable[..., list[dict[str, Any]]] | None:
    """The function that runs episodes of ``task``, None where no package that is installed offers one."""
    found = [point for point in entry_points(group=GROUP) if point.name == task]
    return cast(Callable[..., list[dict[str, Any]]], found[0].load()) if found else None


def success(bundle: Bundle, act: Act, seed: int, episodes: int, identity: str, cache: Path) -> dict[str, Any] | None:
    """Successes of ``episodes`` scenes from :data:`FIRST_SCENE`, the same for every policy; kept in ``cache`` under ``identity``.

    ``seed`` is that of the policy's noise. None without a simulator.
    """
    scenes = range(FIRST_SCENE, FIRST_SCENE + episodes)
    path = cache / f"slide-rollout-{hashlib.sha256(f'{identity} {seed} {scenes}'.encode()).hexdigest()[:16]}.json"
    if path.is_file():
        return summarise(json.loads(path.read_text(encoding="utf-8")))
    run = simulator(bundle.policy.task)
    if run is None:
        return None
    found = run(StudyRuntime(bundle, act, seed), scenes)
    cache.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return summarise(found)


def summarise(episodes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Successes with their 95 % Wilson interval, and over the successes the mean time [s]."""
    won = [each for each in episodes if each["success"]]
    low, high = wilson_interval(len(won), len(episodes))
    seconds = sum(each["duration_s"] for each in won) / len(won) if won else None
    return {"successes": len(won), "trials": len(episodes), "wilson_95": [low, high], "mean_duration_s": seconds}
