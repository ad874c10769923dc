"""Collects recorded episodes into one file of demonstrations in robomimic's layout."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from cdp.actions import GRIPPER, POSITION, ROT6D, width_m_to_gripper
from cdp.data.durable import DurableFile, part_of, unfinished
from cdp.data.episode import EpisodeError, EpisodeLabels, EpisodeReader
from cdp.data.images import ImageError
from cdp.data.journal import journals
from cdp.data.preprocess import ObservationError, proprioception, resize_image
from cdp.data.rows import EpisodeRows, RejectedEpisodeError, episode_rows
from cdp.data.spec import ObservationSpec
from cdp.geometry import FloatArray, matrix_to_rotvec, quat_to_matrix, rot6d_to_matrix

# robomimic's number for an environment of its gym type; its tools read the files, they do not build the environment.
_ENV_TYPE_GYM = 2
# A delta that never exceeds this [m or rad] is scaled by it: dividing by a smaller one would only magnify noise.
_SMALLEST_SCALE = 1e-6


class CollectError(RuntimeError):
    """Nothing was collected; the message says why."""


@dataclass(frozen=True)
class CollectReport:
    """What became of the episodes: demonstrations and rows written, and the rejected files with their reasons."""

    path: Path
    demos: int
    rows: int
    rejected: tuple[tuple[Path, str], ...]
    unfinished: tuple[Path, ...]


def collect(
    episodes: str | Path | Sequence[Path],
    out: str | Path,
    spec: ObservationSpec,
    *,
    image_size: int | None = None,
    valid_fraction: float = 0.1,
    seed: int = 0,
    include_failures: bool = False,
    also: Sequence[str] = (),
) -> CollectReport:
    """Write the demonstrations of ``episodes``, a folder or files, to ``out``, which appears whole or not at all.

    Images are stored as the camera took them, or resized to ``image_size`` squared. ``valid_fraction`` of the demonstrations, drawn by ``seed``,
    become the valid split. Further streams ``also`` go beside the robot's in ``obs``. An episode with a hole, or one that is not labelled as a
    success unless ``include_failures``, is rejected with its reason. Raises :class:`CollectError` where none remains or ``out`` cannot be written.
    """
    if not 0.0 <= valid_fraction < 1.0:
        raise CollectError(f"valid_fraction: {valid_fraction} is outside [0, 1)")
    paths, left = _episode_files(episodes)
    out = Path(out)
    file = _open(out)
    try:
        collector = _Collector(file.hdf5, spec, image_size, include_failures, tuple(also))
        for path in paths:
            collector.add(path)
        if not collector.deltas:
            reasons = "; ".join(f"{path.name}: {reason}" for path, reason in collector.rejected)
            raise CollectError(f"no episode gives a demonstration: {reasons}")
        collector.complete(valid_fraction, seed)
        file.commit()
    except OSError as error:
        raise CollectError(f"{out} could not be written: {error}; the episodes are untouched; make room and collect again") from error
    finally:
        file.discard()
    return CollectReport(out, len(collector.deltas), sum(map(len, collector.deltas)), tuple(collector.rejected), tuple(left))


def _episode_files(episodes: str | Path | Sequence[Path]) -> tuple[list[Path], list[Path]]:
    if not isinstance(episodes, (str, Path)):
        return list(episodes), []
    folder = Path(episodes)
    if not folder.is_dir():
        raise CollectError(f"{folder}: no such folder of episodes")
    paths = sorted(folder.glob("*.hdf5"), key=_in_order)
    if not paths:
        raise CollectError(f"{folder}: holds no finished episode (*.hdf5)")
    return paths, [*unfinished(folder), *journals(folder)]


def _in_order(path: Path) -> list[str | int]:
    """Sorts names by their numbers, so that the tenth episode of a second comes after its ninth; text and numbers alternate."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", path.name)]


def _open(out: Path) -> DurableFile:
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        return DurableFile(out)
    except FileExistsError:
        raise CollectError(f"{part_of(out)} is there: another collect is running, or one was killed; remove it and collect again") from None
    except OSError as error:
        raise CollectError(f"{out} cannot be written: {error}") from error


class _Collector:
    """Writes one demonstration after another; the scale of ``actions`` is known only at the end, so their deltas wait in memory."""

    def __init__(self, file: h5py.File, spec: ObservationSpec, image_size: int | None, include_failures: bool, also: tuple[str, ...]) -> None:
        self._file, self._data, self._also = file, file.create_group("data"), also
        self._spec, self._image_size, self._include_failures = spec, image_size, include_failures
        self.deltas: list[FloatArray] = []
        self.rejected: list[tuple[Path, str]] = []
        self._tasks: set[str] = set()

    def add(self, path: Path) -> None:
        name = f"demo_{len(self.deltas)}"
        try:
            with EpisodeReader(path) as episode:
                if not episode.labels.success and not self._include_failures:
                    raise RejectedEpisodeError(_why_no_success(episode.labels))
                rows = episode_rows(episode, self._spec, self._also)
                deltas = _write_demo(self._data.create_group(name), episode, rows, self._spec, self._image_size)
                self._tasks.add(episode.info.task)
        except (RejectedEpisodeError, EpisodeError, ImageError, ObservationError, KeyError) as error:
            self.rejected.append((path, str(error)))
            if name in self._data:
                del self._data[name]
            return
        self.deltas.append(deltas)

    def complete(self, valid_fraction: float, seed: int) -> None:
        scale = np.maximum(np.max([np.abs(d).max(axis=0) for d in self.deltas], axis=0), _SMALLEST_SCALE)
        scale[-1] = 1.0  # the gripper is in [-1, 1] as it is
        for i, deltas in enumerate(self.deltas):
            demo = self._data[f"demo_{i}"]
            # Rounding to float32 may pass 1 by one bit, which robomimic's tools refuse.
            demo["actions"] = np.clip(deltas / scale, -1.0, 1.0).astype(np.float32)
            demo.attrs["action_scale"] = scale
        self._data.attrs["total"] = sum(map(len, self.deltas))
        self._data.attrs["env_args"] = json.dumps({"env_name": "+".join(sorted(self._tasks)), "type": _ENV_TYPE_GYM, "env_kwargs": {}})
        self._data.attrs["rate_hz"] = self._spec.rate_hz
        count = len(self.deltas)
        valid = min(count - 1, max(1, round(valid_fraction * count))) if valid_fraction > 0 else 0
        order = np.random.default_rng(seed).permutation(count)
        for split, members in (("train", order[valid:]), ("valid", order[:valid])):
            self._file[f"mask/{split}"] = np.asarray([f"demo_{i}".encode() for i in sorted(members)], dtype="S16")


def _why_no_success(labels: EpisodeLabels) -> str:
    what = "labelled as a failure" if labels.labelled else "not labelled as a success"
    return what + (f": {labels.note}" if labels.note else "")


def _write_demo(group: h5py.Group, episode: EpisodeReader, rows: EpisodeRows, spec: ObservationSpec, image_size: int | None) -> FloatArray:
    """Write one demonstration but for ``actions``; returns their deltas (K, 7), not yet scaled."""
    count = len(rows.stamp_ns)
    observed = proprioception(rows.samples)
    obs = group.create_group("obs")
    for key, value in observed.items():
        obs[key] = value
    _write_images(obs, episode, spec.image_key, rows.image_index, image_size)
    for stream, index in rows.also.items():
        if episode.is_image(stream):
            _write_images(obs, episode, stream, index, image_size)
        else:
            obs[stream] = episode.column(stream)[index]
            obs[stream].attrs["fields"] = episode.stream_attributes(stream).get("fields", [])
    gripper = np.clip(width_m_to_gripper(rows.actions[:, GRIPPER]), -1.0, 1.0)
    joints = rows.samples["joint_pos"]
    group["action_dict/abs_pos"] = rows.actions[:, POSITION]
    group["action_dict/abs_rot_6d"] = rows.actions[:, ROT6D]
    group["action_dict/gripper"] = gripper
    group["action_dict/joint_position"] = np.concatenate([joints[1:], joints[-1:]])
    last = np.zeros(count)
    last[-1] = 1.0
    group["dones"] = last.astype(np.int64)
    group["rewards"] = last * float(episode.labels.success)
    group["states"] = rows.task_poses
    group["stamp_ns"] = rows.stamp_ns
    info = episode.info
    group.attrs.update(
        {
            "num_samples": count,
            "episode_file": episode.path.name,
            "task": info.task,
            "operator": info.operator,
            "seed": info.seed,
            "success": episode.labels.success,
        }
    )
    return np.concatenate([_deltas(observed, rows.actions), gripper], axis=-1)


def _deltas(observed: dict[str, FloatArray], actions: FloatArray) -> FloatArray:
    """Target relative to the measured pose (K, 6), in the base frame: translation [m], then the rotation vector [rad] from measured to target."""
    measured = quat_to_matrix(observed["robot0_eef_quat"])
    turn = rot6d_to_matrix(actions[:, ROT6D]) @ np.swapaxes(measured, -1, -2)
    return np.concatenate([actions[:, POSITION] - observed["robot0_eef_pos"], matrix_to_rotvec(turn)], axis=-1)


def _write_images(obs: h5py.Group, episode: EpisodeReader, stream: str, index: NDArray[np.int64], image_size: int | None) -> None:
    dataset: h5py.Dataset | None = None
    for k, i in enumerate(index):
        image = episode.image(int(i), stream)
        camera_size = image.shape[:2]
        if image_size is not None:
            image = resize_image(image, image_size)
        if dataset is None:
            dataset = obs.create_dataset(stream, (len(index), *image.shape), dtype=np.uint8)
            dataset.attrs["camera_size"] = camera_size
        if image.shape != dataset.shape[1:]:
            raise RejectedEpisodeError(f"the image of row {k} is {image.shape[1]}x{image.shape[0]}, unlike the first")
        dataset[k] = image
