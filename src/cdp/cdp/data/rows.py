"""The rows of one recorded episode: which image, which samples and which operator action belong to each tick of the policy rate."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cdp.actions import GRIPPER, ROT6D
from cdp.data.align import select_ticks
from cdp.data.episode import SOURCE_OPERATOR, EpisodeReader
from cdp.data.preprocess import ObservationError, check_sample
from cdp.data.resample import HOLD, NEAREST, NONE, How, half_period_ns, resample
from cdp.data.spec import MAX_GAP_PERIODS, NS_PER_S, STREAM_WIDTHS, ObservationSpec
from cdp.geometry import FloatArray, matrix_to_rot6d, rot6d_to_matrix

_SMALLEST_EPISODE_ROWS = 2


class RejectedEpisodeError(ValueError):
    """An episode that gives no demonstration; the message is the reason."""


@dataclass(frozen=True)
class EpisodeRows:
    """K rows: stamps (K,) [ns], indices (K,) of their images, samples (K, width) by stream, operator actions (K, 10), task poses (K, 14).

    ``also`` holds, by the name of a further stream, the indices (K,) of its samples. ``late`` counts, by stream, the rows whose newest sample was
    older than 1.5 of the stream's nominal periods: the one that belongs there was lost, and the one before it stands in its place.
    """

    stamp_ns: NDArray[np.int64]
    image_index: NDArray[np.int64]
    samples: dict[str, FloatArray]
    actions: FloatArray
    task_poses: FloatArray
    also: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)


def episode_rows(episode: EpisodeReader, spec: ObservationSpec, also: Sequence[str] = ()) -> EpisodeRows:
    """Rows of an episode. Raises :class:`RejectedEpisodeError` for one with a hole, :class:`cdp.data.episode.EpisodeError` where a stream is absent.

    The rows lie between the first and the last operator action with the deadman held. Row k at t_k takes of each stream the newest sample at or
    before t_k within the tolerance. An action that answers time s is where to be at s + dt, and the operator's clock is not the camera's: the row's
    action, where to be at t_k + dt, lies between the last action at or before t_k and the first after it. The gripper's is the last one's. Of the
    streams ``also``, a camera gives its nearest image, within half a period of its nominal rate, and another its newest sample as above.
    """
    action_stamps, actions = _operator_actions(episode)
    image_index, t_ns = _ticks(episode, spec, int(action_stamps[0]), int(action_stamps[-1]))
    chosen = {name: _newest(episode, name, t_ns, spec) for name in STREAM_WIDTHS}
    samples = {name: _samples(episode, name, index) for name, index in chosen.items()}
    late = {name: _late(episode, name, t_ns, index) for name, index in chosen.items()}
    rows = np.stack([_action_at(action_stamps, actions, int(t), spec, k, len(t_ns)) for k, t in enumerate(t_ns)])
    others = {name: _also(episode, name, t_ns, spec) for name in also}
    return EpisodeRows(t_ns, image_index, samples, rows, _task_poses(episode, t_ns), others, late)


def _operator_actions(episode: EpisodeReader) -> tuple[NDArray[np.int64], FloatArray]:
    """Observation stamps (M,) ascending and rows (M, 10) of the actions with the operator's deadman held."""
    held = (episode.column("action", "source") == SOURCE_OPERATOR) & (episode.column("action", "deadman") == 1)
    if not held.any():
        raise RejectedEpisodeError("there is no operator action with the deadman held")
    stamps = episode.column("action", "observation_stamp_ns")[held]
    actions = np.asarray(episode.column("action")[held], dtype=np.float64)
    if not np.all(np.isfinite(actions)):
        raise RejectedEpisodeError("an operator action is not finite")
    order = np.argsort(stamps, kind="stable")
    return stamps[order], actions[order]


def _ticks(episode: EpisodeReader, spec: ObservationSpec, first_ns: int, last_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices and stamps (K,) of the tick images within [first_ns, last_ns]."""
    stamps = episode.stamps_ns(spec.image_key)
    order = np.argsort(stamps, kind="stable")
    order = order[(stamps[order] >= first_ns) & (stamps[order] <= last_ns)]
    index = order[select_ticks(stamps[order], spec)]
    if len(index) < _SMALLEST_EPISODE_ROWS:
        raise RejectedEpisodeError(f"only {len(index)} images at {spec.rate_hz:g} Hz have an operator action")
    t_ns = stamps[index]
    gap = int(np.argmax(np.diff(t_ns)))
    if t_ns[gap + 1] - t_ns[gap] > spec.max_gap_ns:
        raise RejectedEpisodeError(f"no {spec.image_key} for {(t_ns[gap + 1] - t_ns[gap]) / NS_PER_S:.3f} s after row {gap} of {len(t_ns)}")
    return index, t_ns


def _newest(episode: EpisodeReader, stream: str, t_ns: NDArray[np.int64], spec: ObservationSpec) -> NDArray[np.int64]:
    chosen = resample(episode.stamps_ns(stream), t_ns, spec.tolerance_ns)
    if NONE in chosen:
        row = int(np.argmax(chosen == NONE))
        raise RejectedEpisodeError(f"no {stream} within {spec.proprio_tolerance_s:g} s before the image of row {row} of {len(t_ns)}")
    return chosen


def _late(episode: EpisodeReader, stream: str, t_ns: NDArray[np.int64], chosen: NDArray[np.int64]) -> int:
    rate_hz = episode.stream_attributes(stream).get("rate_hz")
    age_ns = t_ns - episode.stamps_ns(stream)[chosen]
    return 0 if rate_hz is None else int((age_ns > MAX_GAP_PERIODS * NS_PER_S / rate_hz).sum())


def _samples(episode: EpisodeReader, stream: str, chosen: NDArray[np.int64]) -> FloatArray:
    try:
        return np.stack([check_sample(stream, values) for values in episode.column(stream)[chosen]])
    except ObservationError as error:
        raise RejectedEpisodeError(str(error)) from None


def _also(episode: EpisodeReader, stream: str, t_ns: NDArray[np.int64], spec: ObservationSpec) -> NDArray[np.int64]:
    how: How = HOLD
    tolerance_ns = spec.tolerance_ns
    if episode.is_image(stream):
        rate_hz = episode.stream_attributes(stream).get("rate_hz", spec.camera_rate_hz)
        tolerance_ns, how = half_period_ns(rate_hz), NEAREST
    chosen = resample(episode.stamps_ns(stream), t_ns, tolerance_ns, how)
    if NONE in chosen:
        row = int(np.argmax(chosen == NONE))
        raise RejectedEpisodeError(f"no {stream} within {tolerance_ns / NS_PER_S:.3f} s of the image of row {row} of {len(t_ns)}")
    return chosen


def _action_at(stamps: NDArray[np.int64], actions: FloatArray, t_ns: int, spec: ObservationSpec, row: int, rows: int) -> FloatArray:
    """The operator's action (10,) for an observation at ``t_ns``, which lies within the stamps."""
    last = bisect_right(stamps, t_ns) - 1
    if stamps[last] == t_ns:
        return np.asarray(actions[last])
    gap_ns = int(stamps[last + 1] - stamps[last])
    if gap_ns > spec.max_gap_ns:
        raise RejectedEpisodeError(f"no operator action for {gap_ns / NS_PER_S:.3f} s around the image of row {row} of {rows}")
    between = actions[last] + (t_ns - int(stamps[last])) / gap_ns * (actions[last + 1] - actions[last])
    between[ROT6D] = matrix_to_rot6d(rot6d_to_matrix(between[ROT6D]))
    between[GRIPPER] = actions[last, GRIPPER]
    return np.asarray(between)


def _task_poses(episode: EpisodeReader, t_ns: NDArray[np.int64]) -> FloatArray:
    """Object and goal pose (K, 14) at each row, zeros where unknown."""
    poses = np.zeros((len(t_ns), 14))
    if "task_state" not in episode.streams:
        return poses
    known = np.concatenate([episode.column("task_state", "object"), episode.column("task_state", "goal")], axis=-1)
    index = resample(episode.stamps_ns("task_state"), t_ns, int(t_ns[-1]))
    poses[index != NONE] = known[index[index != NONE]]
    return poses
