"""Writes and reads LeRobot data sets through LeRobot's own library; runs under the Python that has it, see :mod:`cdp.data.convert_lerobot`.

``python -m cdp.data.lerobot_worker export|import SOURCE TARGET RATE_HZ video|png``; the last line of the output is JSON: demos, rows, notes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.data.dataset import ACTION_KEYS
from cdp.data.demos import DataError, Demo, Rows, demo_names, open_demos, read_all, read_demo, read_masks
from cdp.data.foreign import Source, restored, said_of, write_source

STATE_KEYS = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "robot0_joint_pos")
_SAID, _EXTRA = "meta/cdp.json", "meta/cdp_streams.npz"
_OURS = "cdp."
_OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")


def export_set(source: Path, target: Path, images: str) -> dict[str, Any]:
    """Write ``target``, a LeRobot v3 set, of a file of demonstrations."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    with open_demos(source) as file:
        demos = {name: read_demo(file, name) for name in demo_names(file)}
        first = next(iter(demos.values()))
        columns = {path: array for path, array in first.arrays.items() if array.shape[:1] == (first.rows,) and not path.startswith("streams/")}
        rate_hz = float(file["data"].attrs["rate_hz"])
        if rate_hz != round(rate_hz):
            raise DataError(f"{source}: LeRobot counts frames at a whole rate, not at {rate_hz} Hz")
        features = {feature(path): _feature(path, array, images) for path, array in columns.items()}
        for name, value in _policy_rows(first).items():
            features[name] = {"dtype": "float32", "shape": value.shape[1:], "names": None}
        data = LeRobotDataset.create(target.name, int(rate_hz), features, root=target, robot_type="franka", use_videos=images == "video")
        for demo in demos.values():
            arrays = {feature(path): demo.arrays[path] for path in columns}
            rows = _policy_rows(demo)
            for k in range(demo.rows):
                frame = {name: np.asarray(array[k : k + 1][0]).reshape(features[name]["shape"]) for name, array in (*arrays.items(), *rows.items())}
                data.add_frame({**frame, "task": str(demo.attrs.get("task", "unnamed"))})
            data.save_episode()
        data.finalize()
        (target / _SAID).write_text(json.dumps(said_of(file, demos, read_masks(file))))
        streams = {f"{i}/{path}": read_all(demo, path) for i, demo in enumerate(demos.values()) for path in demo.arrays if path not in columns}
        np.savez_compressed(target / _EXTRA, allow_pickle=False, **streams)
    return {"demos": len(demos), "rows": sum(demo.rows for demo in demos.values()), "notes": []}


def import_set(source: Path, target: Path) -> dict[str, Any]:
    """Write a file of demonstrations of a LeRobot set, read by LeRobot's own loader."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    data = LeRobotDataset(source.name, root=source)
    said = json.loads((source / _SAID).read_text()) if (source / _SAID).is_file() else None
    extra: Any = np.load(source / _EXTRA, allow_pickle=False) if (source / _EXTRA).is_file() else {}
    # The loader hands out single precision; the table behind it has the numbers as they were stored.
    table = data.hf_dataset.with_format("arrow")
    pictures = {name for name, about in data.features.items() if about["dtype"] in ("video", "image")}
    demos = []
    for i, episode in enumerate(data.meta.episodes):
        rows = range(int(episode["dataset_from_index"]), int(episode["dataset_to_index"]))
        items = [data[k] for k in rows] if pictures else []
        columns = table[rows.start : rows.stop]
        arrays: dict[str, Rows] = {}
        for name in data.features:
            if path := _path(name, said is not None):
                arrays[path] = _pictures(items, name) if name in pictures else _numbers(columns[name].to_pylist(), name, data.features[name])
        arrays |= {key.partition("/")[2]: extra[key] for key in extra if key.partition("/")[0] == str(i)}
        attrs = restored(said["demos"][i]) if said else {"task": episode["tasks"][0]}
        array_attrs = {path: restored(a) for path, a in said["array_attrs"][i].items()} if said else {}
        demos.append(Demo(arrays, {"num_samples": len(rows), **attrs}, array_attrs))
    notes = [] if said else ["action is kept as actions: what its numbers mean the set does not say"]
    report = write_source(Source(demos, restored(said["attrs"]) if said else {}, said["masks"] if said else {}, notes), target, float(data.fps))
    return {"demos": report.demos, "rows": report.rows, "notes": list(report.notes)}


def feature(path: str) -> str:
    """LeRobot's name of one of our arrays: cameras by its convention, all else with dots for slashes."""
    if path.startswith("obs/") and path.endswith("_image"):
        return f"observation.images.{path[4:-6]}"
    return _OURS + path.replace("/", ".")


def _path(name: str, ours: bool) -> str:
    """Inverse of :func:`feature`; empty for what is made anew or belongs to LeRobot's own book-keeping."""
    if name in _OWN or (ours and not name.startswith((_OURS, "observation.images."))):
        return ""
    if name.startswith("observation.images."):
        return f"obs/{name.removeprefix('observation.images.')}_image"
    if ours:
        return name.removeprefix(_OURS).replace(".", "/")
    return "actions" if name == "action" else f"obs/{name.removeprefix('observation.')}"


def _feature(path: str, array: Rows, images: str) -> dict[str, Any]:
    if len(array.shape) == 4 and path.startswith("obs/"):
        return {"dtype": "video" if images == "video" else "image", "shape": array.shape[1:], "names": ["height", "width", "channels"]}
    return {"dtype": str(np.dtype(array.dtype)), "shape": array.shape[1:] or (1,), "names": None}


def _policy_rows(demo: Demo) -> dict[str, NDArray[np.float32]]:
    """What LeRobot's policies look for: ``action`` (T, 10) as ours predict it, ``observation.state`` (T, P)."""
    actions = [read_all(demo, f"action_dict/{key}") for key in ACTION_KEYS]
    state = [read_all(demo, f"obs/{key}") for key in STATE_KEYS if f"obs/{key}" in demo.arrays]
    return {name: np.concatenate(parts, axis=-1).astype(np.float32) for name, parts in (("action", actions), ("observation.state", state))}


def _pictures(items: list[dict[str, Any]], name: str) -> NDArray[np.uint8]:
    """Pictures (T, H, W, 3) of what the loader gives: (3, H, W) in [0, 1]."""
    return np.round(np.stack([np.moveaxis(np.asarray(item[name]), 0, -1) for item in items]) * 255.0).astype(np.uint8)


def _numbers(values: list[Any], name: str, about: dict[str, Any]) -> NDArray[Any]:
    shape = tuple(about["shape"])
    return np.asarray(values, dtype=about["dtype"]).reshape(len(values), *(shape if shape != (1,) else _scalar(name)))


def _scalar(name: str) -> tuple[int, ...]:
    # LeRobot has no scalars: one number a frame is (1,) to it. Of our arrays only the gripper's command is that already.
    return (1,) if name.endswith(".gripper") else ()


def main(arguments: list[str]) -> int:
    """Run one conversion."""
    kind, source, target, images = arguments
    from cdp.data.lerobot_operators import declare_operators

    declare_operators()
    result = export_set(Path(source), Path(target), images) if kind == "export" else import_set(Path(source), Path(target))
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
