"""Writes the demonstration that one recorded episode gives, in robomimic's layout, all but the normalised actions."""

from __future__ import annotations

import json
from collections.abc import Sequence

import h5py
import numpy as np
from numpy.typing import NDArray

import cdp
from cdp.actions import GRIPPER, POSITION, ROT6D, width_m_to_gripper
from cdp.data.episode import EpisodeReader
from cdp.data.preprocess import proprioception, resize_image
from cdp.data.rows import RejectedEpisodeError, episode_rows
from cdp.data.spec import ObservationSpec
from cdp.geometry import FloatArray, matrix_to_rotvec, quat_to_matrix, rot6d_to_matrix


def write_episode(group: h5py.Group, episode: EpisodeReader, spec: ObservationSpec, image_size: int | None, also: Sequence[str] = ()) -> FloatArray:
    """Write one demonstration into its new group but for ``actions``; returns their deltas (K, 7), not yet scaled.

    Further streams ``also`` go beside the robot's in ``obs``.
    Raises :class:`RejectedEpisodeError` and what reading an episode raises.
    """
    rows = episode_rows(episode, spec, also)
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
    _write_streams(group, episode)
    info, labels = episode.info, episode.labels
    group.attrs.update(
        {
            "num_samples": count,
            "episode_file": episode.path.name,
            "task": info.task,
            "operator": info.operator,
            "seed": info.seed,
            "success": labels.success,
            "note": labels.note,
            "warnings": json.dumps(list(labels.warnings)),
            "dropped": json.dumps(dict(labels.dropped)),
            "late_rows": json.dumps(rows.late),
            "software_version": cdp.__version__,
        }
    )
    return np.concatenate([_deltas(observed, rows.actions), gripper], axis=-1)


def _write_streams(group: h5py.Group, episode: EpisodeReader) -> None:
    """Header and receive stamps of everything that was recorded: what the rows were chosen from can be checked later. Readers pass over them."""
    for stream in episode.streams:
        for name in ("stamp_ns", "receive_ns"):
            group.create_dataset(f"streams/{stream}/{name}", data=episode.column(stream, name), compression="gzip", shuffle=True)


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
