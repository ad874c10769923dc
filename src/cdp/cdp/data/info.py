"""What is in a file of demonstrations: as robomimic's own tool tells it, and cameras, rates, verdicts and size on disk beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cdp.data.dataset import file_sha256
from cdp.data.demos import Demo, demo_names, open_demos, read_all, read_demo, read_masks
from cdp.data.spec import MAX_GAP_PERIODS, NS_PER_S

# Below this a target does not move the arm in a sense that matters [m].
IDLE_STEP_M = 1e-4


def summary(path: str | Path) -> dict[str, Any]:
    """Facts about a file, also one of another project, as JSON takes them; what a file does not say is None. Raises :class:`DataError`."""
    with open_demos(path) as file:
        demos = {name: read_demo(file, name) for name in demo_names(file)}
        masks, linked = read_masks(file), _linked_files(file)
        data_attrs = dict(file["data"].attrs)
        lengths = np.asarray([demo.rows for demo in demos.values()])
        actions = [read_all(demo, "actions") for demo in demos.values()]
        result = {
            "file": str(path),
            "bytes": Path(path).stat().st_size,
            "linked_files": len(linked),
            "linked_bytes": sum(Path(name).stat().st_size for name in linked if Path(name).is_file()),
            "demonstrations": len(demos),
            "rows": int(lengths.sum()),
            "rows_per_demonstration": {
                "mean": float(lengths.mean()),
                "std": float(lengths.std()),
                "min": int(lengths.min()),
                "median": float(np.median(lengths)),
                "max": int(lengths.max()),
            },
            "actions": {"min": float(min(a.min() for a in actions)), "max": float(max(a.max() for a in actions)), "width": int(actions[0].shape[-1])},
            "masks": {name: len(members) for name, members in masks.items()},
            "environment": _json(data_attrs.get("env_args")),
            "rate_hz": None if "rate_hz" not in data_attrs else float(data_attrs["rate_hz"]),
            "structure": {path: [int(n) for n in array.shape[1:]] for path, array in next(iter(demos.values())).arrays.items()},
            "cameras": _cameras(demos),
            "timing": _timing(demos, data_attrs),
            "verdicts": _verdicts(demos),
            "targets": _targets(demos),
        }
    return {**result, "sha256": file_sha256(Path(path))}


def describe(path: str | Path) -> list[str]:
    """:func:`summary` in lines; the last one sums up."""
    facts = summary(path)
    verdicts, length, span = facts["verdicts"], facts["rows_per_demonstration"], facts["targets"]
    tasks = ", ".join(verdicts["tasks"]) or "not said"
    count = facts["demonstrations"]
    succeeded = "success not said" if verdicts["succeeded"] is None else f"{verdicts['succeeded']} of {count} demonstrations succeeded"
    lines = [
        f"tasks: {tasks}; {succeeded}; operators: {', '.join(verdicts['operators']) or 'not said'}",
        f"verdicts: {verdicts['with_warnings']} with warnings of the recorder, {verdicts['dropped']} messages dropped",
        f"environment: {json.dumps(facts['environment'])}"[:200],
        f"splits: {', '.join(f'{name} {count}' for name, count in facts['masks'].items()) or 'none'}",
        f"rows per demonstration: {length['min']} to {length['max']}, median {length['median']:g}, mean {length['mean']:.1f} ± {length['std']:.1f}",
        f"actions: {facts['actions']['width']} numbers in {facts['actions']['min']:.3f}..{facts['actions']['max']:.3f}",
    ]
    lines += [f"camera {name}: {' or '.join(camera['sizes'])}{camera['as']}" for name, camera in facts["cameras"].items()]
    lines.append(_timing_line(facts))
    if span is not None:
        axes = ", ".join(f"{axis} {low:.3f}..{high:.3f}" for axis, (low, high) in span["span_m"].items())
        lines.append(f"targets [m]: {axes}; {100.0 * span['idle_share']:.1f} % of the steps are idle (below {IDLE_STEP_M * 1000:g} mm)")
    lines += [f"array {name}: {'x'.join(['T', *map(str, shape)])}" for name, shape in facts["structure"].items()]
    linked = f" and {facts['linked_bytes'] / 1e6:.1f} MB in {facts['linked_files']} linked files" if facts["linked_files"] else ""
    return [
        *lines,
        f"on disk: {facts['bytes'] / 1e6:.1f} MB{linked}",
        f"sha256: {facts['sha256']}",
        f"{path}: {facts['demonstrations']} demonstrations, {facts['rows']} rows",
    ]


def _timing_line(facts: dict[str, Any]) -> str:
    timing = facts["timing"]
    if timing is None:
        return "timing: no stamps"
    return (
        f"timing: {timing['measured_hz']:.2f} Hz measured, {timing['nominal_hz'] or 0:g} Hz nominal; spread {timing['period_std_ms']:.1f} ms, "
        f"longest {timing['longest_period_s']:.3f} s; {timing['gaps']} gaps; {timing['duration_s'] / 60:.1f} min in all"
    )


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, json.JSONDecodeError):
        return None


def _cameras(demos: dict[str, Demo]) -> dict[str, dict[str, Any]]:
    cameras: dict[str, dict[str, Any]] = {}
    for demo in demos.values():
        for path, array in demo.arrays.items():
            if path.startswith("obs/") and len(array.shape) == 4:
                camera = cameras.setdefault(path.removeprefix("obs/"), {"sizes": [], "as": ""})
                size = f"{array.shape[2]}x{array.shape[1]}"
                taken = demo.array_attrs.get(path, {}).get("camera_size")
                if taken is not None and tuple(taken) != tuple(array.shape[1:3]):
                    camera["as"] = f", taken at {taken[1]}x{taken[0]}"
                if size not in camera["sizes"]:
                    camera["sizes"].append(size)
    return cameras


def _timing(demos: dict[str, Demo], attrs: dict[str, Any]) -> dict[str, Any] | None:
    if not all("stamp_ns" in demo.arrays for demo in demos.values()):
        return None
    stamps = [read_all(demo, "stamp_ns").astype(np.int64) for demo in demos.values()]
    periods_s = np.concatenate([np.diff(s) for s in stamps]) / NS_PER_S
    if not len(periods_s):
        return None
    nominal = float(attrs["rate_hz"]) if "rate_hz" in attrs else None
    return {
        "nominal_hz": nominal,
        "measured_hz": float(1.0 / periods_s.mean()),
        "period_std_ms": float(periods_s.std() * 1000.0),
        "longest_period_s": float(periods_s.max()),
        "gaps": int(np.sum(periods_s > MAX_GAP_PERIODS / nominal)) if nominal else 0,
        "duration_s": float(sum(s[-1] - s[0] for s in stamps) / NS_PER_S),
    }


def _verdicts(demos: dict[str, Demo]) -> dict[str, Any]:
    attrs = [demo.attrs for demo in demos.values()]
    said = [bool(a["success"]) for a in attrs if "success" in a]
    return {
        "tasks": sorted({str(a["task"]) for a in attrs if "task" in a}),
        "operators": sorted({str(a["operator"]) for a in attrs if "operator" in a}),
        "succeeded": sum(said) if said else None,
        "with_warnings": sum(bool(_json(a.get("warnings"))) for a in attrs),
        "dropped": sum(sum((_json(a.get("dropped")) or {}).values()) for a in attrs),
    }


def _targets(demos: dict[str, Demo]) -> dict[str, Any] | None:
    if not all("action_dict/abs_pos" in demo.arrays for demo in demos.values()):
        return None
    positions = [read_all(demo, "action_dict/abs_pos") for demo in demos.values()]
    steps_m = np.concatenate([np.linalg.norm(np.diff(p, axis=0), axis=1) for p in positions])
    everywhere = np.concatenate(positions)
    spans = zip("xyz", everywhere.min(axis=0), everywhere.max(axis=0), strict=True)
    return {"span_m": {axis: [float(low), float(high)] for axis, low, high in spans}, "idle_share": float(np.mean(steps_m < IDLE_STEP_M))}


def _linked_files(file: h5py.File) -> set[str]:
    folder = Path(file.filename).parent
    links = (file["data"][name].get(key, getlink=True) for name in demo_names(file) for key in file["data"][name])
    return {str(folder / link.filename) for link in links if isinstance(link, h5py.ExternalLink)}
