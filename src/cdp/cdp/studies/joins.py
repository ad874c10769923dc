"""Study ``joins``: what the arm is sent where a chunk takes over from another, by join and by delay: on recordings, and in simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdp.bundle.reader import Bundle
from cdp.config import to_mapping
from cdp.runtime import JoinConfig, PolicyRuntime, RuntimeConfig
from cdp.studies.frame import Outcome, StudyError, StudyRun, spread
from cdp.studies.joins_closed import closed_loop
from cdp.studies.joins_figures import DRAWN, draw_delays, draw_motion
from cdp.studies.joins_measures import join_figures, pooled, seed_spread
from cdp.studies.joins_replay import Recording, load_recordings, made_up, replay
from cdp.studies.joins_report import report

BUNDLE = Path("models/slide")
DATASET = Path("data/slide/demos.hdf5")
REPLAN_TICKS = 4
DELAYS_S = (0.0, 0.05, 0.1, 0.2)
CLOSED_DELAYS_S = (0.0, 0.2)
EPISODES = 5
JOINS = {
    "hard": JoinConfig("hard"),
    "ensemble": JoinConfig("ensemble"),
    "rtc": JoinConfig("rtc"),
    "rtc, 1 product": JoinConfig("rtc", products=1),
}
#: Initial noise and the level of a warm start.
NOISES = {
    "random": ("random", 1.0),
    "zero": ("zero", 1.0),
    "warm, level 1": ("warm", 1.0),
    "warm, level 0.6": ("warm", 0.6),
    "warm, level 0.3": ("warm", 0.3),
}


def study(run: StudyRun) -> Outcome:
    """Every join at every delay, and every initial noise with a hard join, on the same recordings."""
    runtime, recordings = setting(run)
    delays = DELAYS_S[::3] if run.quick else DELAYS_S
    joins = {
        name: {str(round(1e3 * delay)): by_seed(runtime, recordings, join, delay, run.seeds) for delay in delays} for name, join in JOINS.items()
    }
    noises = {name: noise_figures(runtime, recordings, kind, level, run.seeds) for name, (kind, level) in NOISES.items()}
    runtime.reconfigure(initial_noise="random", warm_level=1.0, seed=run.seeds[0])
    closed = {} if run.quick else in_simulation(runtime, run)
    slow = delays[-1]
    draw_delays(joins, run.out / "delays.png")
    draw_motion({name: replay(runtime, JOINS[name], recordings[0], slow, REPLAN_TICKS) for name in DRAWN}, run.out / "motion.png", slow)
    results = {
        "bundle": runtime.bundle.name,
        "steps": runtime.steps,
        "solver": runtime.solver,
        "engine": runtime.engine,
        "recordings": len(recordings),
        "replan_ticks": REPLAN_TICKS,
        "settings": {name: to_mapping(join) for name, join in JOINS.items()},
        "joins": joins,
        "noises": noises,
        "closed_loop": closed,
    }
    last = str(round(1e3 * slow))
    each = ", ".join(f"{name} {joins[name][last]['jerk_ratio']['mean']:.1f}" for name in JOINS)
    return Outcome(results, report(results), f"jerk at joins over within chunks, {last} ms late: {each}")


def in_simulation(runtime: PolicyRuntime, run: StudyRun) -> dict[str, Any]:
    """Success of each drawn join at the shortest and the longest delay; nothing without a simulator."""
    found = {
        name: {str(round(1e3 * delay)): closed_loop(runtime, JOINS[name], delay, EPISODES, run.cache) for delay in CLOSED_DELAYS_S} for name in DRAWN
    }
    return {name: by_delay for name, by_delay in found.items() if None not in by_delay.values()}


def setting(run: StudyRun) -> tuple[PolicyRuntime, list[Recording]]:
    """The policy and what it sees. Raises :class:`StudyError` where either is missing."""
    if not (BUNDLE / "manifest.json").is_file():
        raise StudyError(f"no bundle at {BUNDLE}: run the study from the root of the repository, or train it with cdp train config/train/slide.yaml")
    runtime = PolicyRuntime(Bundle.open(BUNDLE), RuntimeConfig())
    if run.quick:
        return runtime, [made_up(seed, runtime.bundle.policy.observation.image_size) for seed in range(2)]
    if not DATASET.is_file():
        raise StudyError(f"no demonstrations at {DATASET}: make them with cdp demos --out {DATASET.parent}")
    return runtime, load_recordings(DATASET)


def by_seed(runtime: PolicyRuntime, recordings: Sequence[Recording], join: JoinConfig, delay_s: float, seeds: Sequence[int]) -> dict[str, Any]:
    """Figures of one join at one delay, each with its spread over seeds of the noise."""
    replays = _replays(runtime, recordings, join, delay_s, seeds)
    return _spreads([pooled([join_figures(sent, recording) for sent, recording in each]) for each in replays])


def _replays(runtime: PolicyRuntime, recordings: Sequence[Recording], join: JoinConfig, delay_s: float, seeds: Sequence[int]) -> list[list[Any]]:
    found = []
    for seed in seeds:
        runtime.reconfigure(seed=seed)
        found.append([(replay(runtime, join, recording, delay_s, REPLAN_TICKS), recording) for recording in recordings])
    return found


def noise_figures(runtime: PolicyRuntime, recordings: Sequence[Recording], kind: str, level: float, seeds: Sequence[int]) -> dict[str, Any]:
    """As :func:`by_seed` with a hard join and no delay, and how far chunks of different seeds are apart for the same observation."""
    runtime.reconfigure(initial_noise=kind, warm_level=level)
    replays = _replays(runtime, recordings, JOINS["hard"], 0.0, seeds)
    figures = _spreads([pooled([join_figures(sent, recording) for sent, recording in each]) for each in replays])
    return {**figures, "seed_spread_mm": seed_spread([[sent for sent, _ in each] for each in replays])}


def _spreads(measured: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    return {name: spread([each[name] for each in measured]) for name in measured[0]}
