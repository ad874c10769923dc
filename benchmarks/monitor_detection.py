"""Does the monitor notice what a policy was not trained on? Its figures on familiar windows against perturbed ones, and against the policy's error.

``python benchmarks/monitor_detection.py [--bundle models/slide] [--data data/slide/demos.hdf5] [--seeds 0 1 2] [--out docs/studies/monitor]``

Two kinds of familiar windows: held-out ones of the demonstrations, and those that the policy meets in its own episodes in simulation. The first
are perturbed in the picture, or in the state that comes with it; of the second kind some are met by a policy whose actions are shifted, which leads
the arm where no demonstration was. Written are ``results.json`` and ``detection.png``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.stats import rankdata, spearmanr
from tqdm import tqdm

from cdp.bundle import Bundle
from cdp.bundle.monitor_commands import splits
from cdp.data.dataset import DemoDataset
from cdp.data.window import WindowArrays
from cdp.runtime import ActionPrediction, PolicyRuntime
from cdp.runtime.monitor import MonitorReading, SamplerMonitor
from cdp.runtime.monitor_verdict import Judge
from cdp.studies.slide_rollouts import simulator

FIGURES = ("spread", "lipschitz", "extent", "distance")
COMBINED = {"extent or distance": ("extent", "distance"), "any of the four": FIGURES}
SCENES = range(200_000, 200_008)
LED = {"led 6 cm up": (0.0, 0.0, 0.06), "led 12 cm left": (0.0, 0.12, 0.0), "led 12 cm right": (0.0, -0.12, 0.0)}
LED_SCENES = range(200_000, 200_002)
LED_LIMIT_S = 8.0
OUTSIDE_M = 0.02
Rng = np.random.Generator
Shares = dict[str, NDArray[np.float64]]


def shifted(pixels: int) -> Callable[[WindowArrays, Rng], WindowArrays]:
    """The camera turned: the picture moved by ``pixels`` in one of four directions, its edge drawn out."""

    def change(window: WindowArrays, rng: Rng) -> WindowArrays:
        axis, sign = 1 + int(rng.integers(2)), int(rng.choice((-1, 1)))
        index = np.clip(np.arange(window["image"].shape[axis]) + sign * pixels, 0, window["image"].shape[axis] - 1)
        return {"image": np.take(window["image"], index, axis=axis), "lowdim": window["lowdim"]}

    return change


def lit(factor: float) -> Callable[[WindowArrays, Rng], WindowArrays]:
    """Every pixel times ``factor``."""
    return lambda window, rng: {"image": _pixels(window["image"] * factor), "lowdim": window["lowdim"]}


def noisy(std: float) -> Callable[[WindowArrays, Rng], WindowArrays]:
    """Independent noise on every pixel, of 255."""
    return lambda window, rng: {"image": _pixels(window["image"] + rng.normal(0.0, std, window["image"].shape)), "lowdim": window["lowdim"]}


def covered(side: int) -> Callable[[WindowArrays, Rng], WindowArrays]:
    """A grey square of ``side`` pixels over some part of both pictures."""

    def change(window: WindowArrays, rng: Rng) -> WindowArrays:
        image = window["image"].copy()
        top, left = rng.integers(0, image.shape[1] - side, 2)
        image[:, top : top + side, left : left + side] = 96
        return {"image": image, "lowdim": window["lowdim"]}

    return change


def misplaced(distance_m: float, scale_m: NDArray[np.float64]) -> Callable[[WindowArrays, Rng], WindowArrays]:
    """The measured position off by ``distance_m`` in some direction, the picture as it was. ``scale_m`` (3,) is that of a normalised position."""

    def change(window: WindowArrays, rng: Rng) -> WindowArrays:
        direction = rng.standard_normal(3)
        offset = distance_m * direction / np.linalg.norm(direction) / scale_m
        return {"image": window["image"], "lowdim": (window["lowdim"] + offset).astype(np.float32)}

    return change


def _pixels(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


class LedRuntime(PolicyRuntime):
    """A policy whose actions are shifted by ``offset_m``, and that keeps every window it plans from, an episode each."""

    def __init__(self, bundle: Bundle, offset_m: Sequence[float]) -> None:
        self.seen: list[list[WindowArrays]] = []
        self._offset_m = np.asarray(offset_m)
        super().__init__(bundle)

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode."""
        super().reset(seed)
        self.seen.append([])

    def act(self, window: WindowArrays, *args: Any, **kwargs: Any) -> ActionPrediction:
        """The chunk, moved."""
        self.seen[-1].append({"image": window["image"].copy(), "lowdim": window["lowdim"].copy()})
        prediction = super().act(window, *args, **kwargs)
        prediction.rows[:, :3] += self._offset_m
        return prediction


@dataclass(frozen=True)
class Measured:
    """Shares of the thresholds by figure (N,), and the error of the chunk (N,) where there is a recorded one: rms, normalised."""

    shares: Shares
    error: NDArray[np.float64]
    readings: tuple[MonitorReading, ...]


def measure(monitor: SamplerMonitor, windows: Iterable[WindowArrays], actions: NDArray[np.float32] | None = None) -> Measured:
    """Read ``windows``; with ``actions`` (N, T, D) the mean error of the sampled chunks too."""
    shares: dict[str, list[float]] = {name: [] for name in FIGURES}
    errors, readings = [], []
    for i, window in enumerate(windows):
        figures, chunks = monitor.sampled(monitor.encode(window), window["lowdim"])
        readings.append(MonitorReading(figures, monitor.shares(figures), math.nan, 0.0))
        for name, share in readings[-1].shares.items():
            shares[name].append(share)
        if actions is not None:
            errors.append(float(np.sqrt(np.square(chunks[: monitor.seeds].mean(axis=0) - actions[i]).mean())))
    arrays = {name: np.array(values) for name, values in shares.items()}
    arrays |= {name: np.max([arrays[part] for part in parts], axis=0) for name, parts in COMBINED.items()}
    return Measured(arrays, np.array(errors), tuple(readings))


def auc(familiar: NDArray[np.float64], strange: NDArray[np.float64]) -> float:
    """Area under the ROC curve: the chance that a strange window has a larger share than a familiar one, ties half."""
    ranks = rankdata(np.concatenate([familiar, strange]))
    return float((ranks[len(familiar) :].sum() - len(strange) * (len(strange) + 1) / 2) / (len(familiar) * len(strange)))


def compare(familiar: Measured, runs: Sequence[Measured]) -> dict[str, Any]:
    """AUC and share of windows above the threshold, by figure: mean over the runs, and the smallest and largest AUC."""
    found: dict[str, Any] = {"windows": [len(run.shares["spread"]) for run in runs]}
    for name in (*FIGURES, *COMBINED):
        areas = [auc(familiar.shares[name], run.shares[name]) for run in runs]
        over = [float((run.shares[name] > 1.0).mean()) for run in runs]
        found[name] = {"auc": float(np.mean(areas)), "auc_range": [min(areas), max(areas)], "over": float(np.mean(over)), **quantiles(runs, name)}
    if len(runs[0].error):
        found["chunk_error"] = float(np.mean([run.error.mean() for run in runs]))
    return found


def quantiles(runs: Sequence[Measured], name: str) -> dict[str, list[float]]:
    """5, 50 and 95 % of the shares of one figure."""
    return {"share_p5_p50_p95": [float(q) for q in np.quantile(np.concatenate([run.shares[name] for run in runs]), (0.05, 0.5, 0.95))]}


def uncertain(monitor: SamplerMonitor, seen: list[list[WindowArrays]]) -> dict[str, Any]:
    """In how many episodes the policy was called uncertain, with the node's defaults but a reading at every chunk, and after how many of them."""
    first = []
    for windows in seen:
        judge = Judge()
        verdicts = [judge.judge(reading).uncertain for reading in measure(monitor, windows).readings]
        first.append(verdicts.index(True) + 1 if True in verdicts else None)
    return {"uncertain_episodes": sum(each is not None for each in first), "readings_until": first}


def rank_correlations(runs: Sequence[Measured]) -> dict[str, float]:
    """Spearman's rank correlation of each figure with the chunk's error, over the windows of all ``runs``."""
    error = np.concatenate([run.error for run in runs])
    ranks = {name: float(spearmanr(np.concatenate([run.shares[name] for run in runs]), error).statistic) for name in (*FIGURES, *COMBINED)}
    return {"windows": len(error), **ranks}


def windows_of(data: DemoDataset, every: int) -> tuple[list[WindowArrays], NDArray[np.float32]]:
    """Every so many windows of a split, and their recorded chunks."""
    batch = data.batch(np.arange(0, len(data), every))
    return [{"image": image, "lowdim": low} for image, low in zip(batch["image"], batch["lowdim"], strict=True)], batch["action"]


def episodes(bundle: Bundle, offset_m: Sequence[float], scenes: range, limit_s: float) -> tuple[list[list[WindowArrays]], list[dict[str, Any]]]:
    """The windows that the policy planned from, and how each of its episodes ended. Raises SystemExit where no simulator is installed."""
    run = simulator(bundle.policy.task)
    if run is None:
        raise SystemExit(f"no simulator of the task {bundle.policy.task} is installed")
    runtime = LedRuntime(bundle, offset_m)
    ended = run(runtime, scenes, timeout_s=limit_s)
    return [windows for windows in runtime.seen if windows], ended


def outcome(ended: list[dict[str, Any]]) -> dict[str, int]:
    """Successes and episodes."""
    return {"successes": sum(each["success"] for each in ended), "episodes": len(ended)}


def outside(windows: list[WindowArrays], bundle: Bundle, train: DemoDataset) -> list[WindowArrays]:
    """Those whose measured position is farther than :data:`OUTSIDE_M` from that of every training window; position is the first of the state."""
    demonstrated, _ = windows_of(train, 1)
    positions = [bundle.stats.lowdim.denormalise(np.array([w["lowdim"][-1] for w in each]))[:, :3] for each in (demonstrated, windows)]
    distances, _ = KDTree(positions[0]).query(positions[1])
    return [window for window, distance in zip(windows, distances, strict=True) if distance > OUTSIDE_M]


def perturbations(bundle: Bundle) -> dict[str, Callable[[WindowArrays, Rng], WindowArrays]]:
    """What is done to held-out windows, by name."""
    scale_m = 0.5 * (bundle.stats.lowdim.high - bundle.stats.lowdim.low)[:3]
    return {
        **{f"camera {pixels} px": shifted(pixels) for pixels in (2, 5, 10, 20, 40)},
        **{f"light x{factor:g}": lit(factor) for factor in (0.5, 0.8, 1.2, 1.5)},
        **{f"covered {side} px": covered(side) for side in (12, 24)},
        **{f"pixel noise {std}": noisy(std) for std in (10, 30)},
        **{f"state off {100 * distance_m:g} cm": misplaced(distance_m, scale_m) for distance_m in (0.02, 0.05, 0.1)},
    }


def study(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that is measured, JSON data."""
    bundle = Bundle.open(arguments.bundle)
    monitor = SamplerMonitor(bundle)
    train, valid = splits(bundle, arguments.data)
    familiar, actions = windows_of(valid, arguments.every)
    base = measure(monitor, familiar, actions)
    cases: dict[str, Any] = {}
    pooled = [base]
    for name, change in tqdm(perturbations(bundle).items(), desc="perturbed", file=sys.stderr):
        runs = []
        # What happens to the light is the same for every seed.
        for seed in arguments.seeds[:1] if name.startswith("light") else arguments.seeds:
            rng = np.random.default_rng(seed)
            runs.append(measure(monitor, (change(window, rng) for window in familiar), actions))
        cases[name] = {"against": "held-out"} | compare(base, runs)
        pooled += runs
    seen, ended = episodes(bundle, (0.0, 0.0, 0.0), SCENES, 25.0)
    live = measure(monitor, (window for windows in seen for window in windows))
    cases["own episodes"] = {"against": "held-out", **outcome(ended), **uncertain(monitor, seen)} | compare(base, [live])
    for name, offset_m in tqdm(LED.items(), desc="led", file=sys.stderr):
        seen, ended = episodes(bundle, offset_m, LED_SCENES, LED_LIMIT_S)
        run = measure(monitor, outside([window for windows in seen for window in windows], bundle, train))
        cases[name] = {"against": "own episodes", **outcome(ended), **uncertain(monitor, seen)} | compare(live, [run])
    ranks = {where: rank_correlations(runs) for where, runs in (("held-out", [base]), ("held-out and perturbed", pooled))}
    return {
        "command": f"python benchmarks/monitor_detection.py --seeds {' '.join(map(str, arguments.seeds))}",
        "bundle": bundle.name,
        "seeds": list(arguments.seeds),
        "held_out": {
            "windows": len(familiar),
            "every": arguments.every,
            "chunk_error": float(base.error.mean()),
            **{name: quantiles([base], name) for name in FIGURES},
        },
        "thresholds": {name: getattr(monitor.reference.facts, name).threshold for name in FIGURES} if monitor.reference is not None else {},
        "cases": cases,
        "rank_correlation_with_chunk_error": ranks,
    }


def draw(results: dict[str, Any], path: Path) -> None:
    """AUC by case and figure, and the shares of every case."""
    cases = results["cases"]
    figure = Figure(figsize=(13.5, 7.2), layout="constrained", dpi=110)
    areas, spans = figure.subplots(1, 2, width_ratios=(1.0, 1.25))
    columns = (*FIGURES, *COMBINED)
    grid = np.array([[case[name]["auc"] for name in columns] for case in cases.values()])
    areas.imshow(grid, cmap="RdYlBu", vmin=0.0, vmax=1.0, aspect="auto")
    for row, column in np.ndindex(grid.shape):
        value = grid[row, column]
        areas.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if abs(value - 0.5) > 0.3 else "black")
    areas.set_xticks(range(len(columns)), [name.replace(" or ", " or\n").replace(" of the", " of\nthe") for name in columns], fontsize=8)
    areas.set_yticks(range(len(cases)), list(cases), fontsize=8)
    areas.set_title("area under the ROC curve (0.5: chance)", fontsize=10)
    draw_shares(spans, {"held-out": results["held_out"], **cases})
    figure.savefig(path, metadata={"Software": None})


def draw_shares(axes: Axes, cases: dict[str, Any]) -> None:
    """Median and 5 to 95 % of each figure's share of its threshold."""
    colours = dict(zip(FIGURES, ("#0072B2", "#D55E00", "#009E73", "#000000"), strict=True))
    for row, case in enumerate(cases.values()):
        for i, name in enumerate(FIGURES):
            low, middle, high = case[name]["share_p5_p50_p95"]
            height = row + 0.18 * (i - 1.5)
            axes.plot((low, high), (height, height), color=colours[name], linewidth=1.5)
            axes.plot(middle, height, marker="oDs^"[i], markersize=3.5, color=colours[name], label=name if row == 0 else None)
    axes.axvline(1.0, color="#7f7f7f", linestyle="--", linewidth=1.0)
    axes.set_xscale("log")
    axes.set_xticks((0.2, 0.5, 1.0, 2.0, 4.0), ("0.2", "0.5", "1", "2", "4"))
    axes.minorticks_off()
    axes.set_yticks(range(len(cases)), list(cases), fontsize=8)
    axes.set_ylim(len(cases) - 0.4, -0.6)
    axes.set_xlabel("share of the threshold: median, 5 to 95 % of the windows", fontsize=9)
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(FIGURES), frameon=False)


def main() -> int:
    """Measure, write, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=Path("models/slide"))
    parser.add_argument("--data", type=Path, default=Path("data/slide/demos.hdf5"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of what is random in a perturbation")
    parser.add_argument("--every", type=int, default=4, help="take every so many held-out windows")
    parser.add_argument("--out", type=Path, default=Path("docs/studies/monitor"))
    arguments = parser.parse_args()
    results = study(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results, arguments.out / "detection.png")
    for name, case in results["cases"].items():
        areas = "  ".join(f"{figure} {case[figure]['auc']:.2f}/{100 * case[figure]['over']:3.0f}%" for figure in (*FIGURES, *COMBINED))
        sys.stdout.write(f"{name:18s} {areas}\n")
    sys.stdout.write(f"rank correlation with the chunk's error: {results['rank_correlation_with_chunk_error']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
