"""Collects recorded episodes into one file of demonstrations in robomimic's layout."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

import cdp
from cdp.data.collect_demo import write_episode
from cdp.data.dataset import file_sha256
from cdp.data.demos import DataError, write_masks
from cdp.data.durable import DurableFile, part_of, unfinished
from cdp.data.episode import EpisodeError, EpisodeLabels, EpisodeReader
from cdp.data.images import ImageError
from cdp.data.journal import journals
from cdp.data.preprocess import ObservationError
from cdp.data.rows import RejectedEpisodeError
from cdp.data.spec import ObservationSpec
from cdp.data.split import draw_split
from cdp.geometry import FloatArray

# robomimic's number for an environment of its gym type; its tools read the files, they do not build the environment.
_ENV_TYPE_GYM = 2
# A delta that never exceeds this [m or rad] is scaled by it: dividing by a smaller one would only magnify noise.
_SMALLEST_SCALE = 1e-6


class CollectError(DataError):
    """Nothing was collected; the message says why."""


@dataclass(frozen=True)
class CollectReport:
    """What became of the episodes: demonstrations and rows written, rejected files with their reasons, parts that were there from an earlier run."""

    path: Path
    demos: int
    rows: int
    rejected: tuple[tuple[Path, str], ...]
    unfinished: tuple[Path, ...]
    reused: int = 0


def collect(
    episodes: str | Path | Sequence[Path],
    out: str | Path,
    spec: ObservationSpec,
    *,
    image_size: int | None = None,
    valid_fraction: float = 0.1,
    seed: int = 0,
    include_failures: bool = False,
    links: bool = False,
    also: Sequence[str] = (),
) -> CollectReport:
    """Write the demonstrations of ``episodes``, a folder or files, to ``out``, which appears whole or not at all.

    Images are stored as the camera took them, or resized to ``image_size`` squared. ``valid_fraction`` of the demonstrations, drawn by ``seed``,
    become the valid split. Further streams ``also`` go beside the robot's in ``obs``. An episode with a hole, or one that is not labelled as a
    success unless ``include_failures``, is rejected with its reason. With ``links`` each demonstration is a file of its own in ``<out>.parts/``,
    made once, and ``out`` an index of links to them. Raises :class:`CollectError` where none remains or ``out`` cannot be written.
    """
    if not 0.0 <= valid_fraction < 1.0:
        raise CollectError(f"valid_fraction: {valid_fraction} is outside [0, 1)")
    paths, left = _episode_files(episodes)
    out = Path(out)
    file = _open(out)
    try:
        kind = _LinkCollector if links else _Collector
        collector = kind(out, file.hdf5, spec, image_size, include_failures, tuple(also))
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
    return CollectReport(out, len(collector.deltas), sum(map(len, collector.deltas)), tuple(collector.rejected), tuple(left), collector.reused)


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

    def __init__(
        self, out: Path, file: h5py.File, spec: ObservationSpec, image_size: int | None, include_failures: bool, also: tuple[str, ...]
    ) -> None:
        self._out, self._file, self._data, self._also = out, file, file.create_group("data"), also
        self._spec, self._image_size, self._include_failures = spec, image_size, include_failures
        self.deltas: list[FloatArray] = []
        self.rejected: list[tuple[Path, str]] = []
        self.reused = 0
        self._tasks: set[str] = set()

    def add(self, path: Path) -> None:
        name = f"demo_{len(self.deltas)}"
        try:
            with EpisodeReader(path) as episode:
                if not episode.labels.success and not self._include_failures:
                    raise RejectedEpisodeError(_why_no_success(episode.labels))
                deltas = self.write(self._data.create_group(name), episode)
                self._tasks.add(episode.info.task)
        except (RejectedEpisodeError, EpisodeError, ImageError, ObservationError, KeyError) as error:
            self.rejected.append((path, str(error)))
            if name in self._data:
                del self._data[name]
            return
        self.deltas.append(deltas)

    def write(self, group: h5py.Group, episode: EpisodeReader) -> FloatArray:
        return write_episode(group, episode, self._spec, self._image_size, self._also)

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
        train, valid = draw_split(len(self.deltas), valid_fraction, seed)
        write_masks(self._file, {"train": [f"demo_{i}" for i in train], "valid": [f"demo_{i}" for i in valid]})


class _LinkCollector(_Collector):
    """Writes each demonstration to a file of its own, unless that is there from the same episode, settings and version, and links to it."""

    def write(self, group: h5py.Group, episode: EpisodeReader) -> FloatArray:
        folder = self._out.with_name(f"{self._out.name}.parts")
        folder.mkdir(exist_ok=True)
        path = folder / episode.path.name
        taken = episode.path.stat()
        source = json.dumps([cdp.__version__, asdict(self._spec), self._image_size, self._also, taken.st_size, taken.st_mtime_ns])
        if _made_from(path) == source:
            self.reused += 1
        else:
            self._write_part(path, episode, source)
        with h5py.File(path, "r") as part:
            group.attrs.update(part["demo"].attrs)
            for key in part["demo"]:
                group[key] = h5py.ExternalLink(f"{folder.name}/{path.name}", f"/demo/{key}")
            deltas = np.asarray(part["deltas"][()])
        # Whoever hashes the index, as training does, hashes what it links to.
        group.attrs["part_sha256"] = file_sha256(path)
        return deltas

    def _write_part(self, path: Path, episode: EpisodeReader, source: str) -> None:
        # Only one collect at a time writes this index, so what lies there unfinished is of one that was killed.
        part_of(path).unlink(missing_ok=True)
        part = DurableFile(path)
        try:
            part.hdf5["deltas"] = write_episode(part.hdf5.create_group("demo"), episode, self._spec, self._image_size, self._also)
            part.hdf5.attrs["made_from"] = source
            part.commit()
        finally:
            part.discard()


def _made_from(path: Path) -> str | None:
    try:
        with h5py.File(path, "r") as part:
            return str(part.attrs["made_from"])
    except (OSError, KeyError):
        return None


def _why_no_success(labels: EpisodeLabels) -> str:
    what = "labelled as a failure" if labels.labelled else "not labelled as a success"
    return what + (f": {labels.note}" if labels.note else "")
