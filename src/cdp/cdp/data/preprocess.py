"""From a camera image and raw robot streams to what a policy sees. Data set and robot both come through here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdp.data.spec import LOWDIM_SOURCES, STREAM_WIDTHS
from cdp.geometry import FloatArray, matrix_to_rot6d, quat_to_matrix

Image = NDArray[np.uint8]


class ObservationError(ValueError):
    """An observation that is refused: wrong shape, not finite, or no rotation. The message names the stream."""


def resize_image(rgb: Image, size: int) -> Image:
    """Image (size, size, 3) uint8 of an RGB image (H, W, 3) uint8, by area averaging.

    The whole view is kept: a 4:3 image is squashed, not cropped, so nothing at the edge of the table is lost. Raises :class:`ObservationError` for
    another shape or dtype, and for an image smaller than ``size``.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ObservationError(f"an image is (H, W, 3) uint8, not {rgb.shape} {rgb.dtype}")
    height, width = rgb.shape[:2]
    if min(height, width) < size:
        raise ObservationError(f"an image of {width}x{height} pixels is smaller than the {size}x{size} that is asked for")
    if height == width == size:
        return np.array(rgb)
    lines, rest = divmod(height, size)
    if rest == 0 and lines > 1:
        # The same mean in less time: whole lines are added first, which leaves a fraction of the pixels to be resized. Sums of integers are exact.
        whole, summed = rgb.reshape(size, lines, 3 * width), np.zeros((size, 3 * width), dtype=np.float32)
        for line in range(lines):
            cv2.accumulate(whole[:, line], summed)
        squashed = cv2.resize(summed.reshape(size, width, 3), (size, size), interpolation=cv2.INTER_AREA)
        return np.asarray(np.rint(squashed * np.float32(1 / lines)), dtype=np.uint8)
    return np.asarray(cv2.resize(np.ascontiguousarray(rgb), (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def check_sample(stream: str, value: ArrayLike) -> FloatArray:
    """Sample (width,) float64 of a raw stream. Raises :class:`ObservationError` for a wrong width, NaN or infinity, or a zero quaternion."""
    width = STREAM_WIDTHS.get(stream)
    if width is None:
        raise ObservationError(f"{stream!r} is no stream; use one of {', '.join(STREAM_WIDTHS)}")
    sample = np.array(value, dtype=np.float64).reshape(-1)
    if sample.shape != (width,):
        raise ObservationError(f"{stream}: a sample has {width} numbers, not {sample.size}")
    if not np.all(np.isfinite(sample)):
        raise ObservationError(f"{stream}: {sample.tolist()} is not finite")
    if stream == "eef_pose" and not np.linalg.norm(sample[3:]) > 1e-6:
        raise ObservationError(f"{stream}: a zero quaternion is no rotation")
    return sample


def proprioception(samples: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    """Observations by their robomimic keys, from raw streams (..., width): joint_pos, eef_pose and gripper_width, each where present.

    The quaternion's sign is chosen so that w >= 0; each finger stands at half the opening.
    """
    observed: dict[str, FloatArray] = {}
    if "joint_pos" in samples:
        observed["robot0_joint_pos"] = np.asarray(samples["joint_pos"], dtype=np.float64)
    if "eef_pose" in samples:
        pose = np.asarray(samples["eef_pose"], dtype=np.float64)
        quat = pose[..., 3:]
        observed["robot0_eef_pos"] = pose[..., :3]
        observed["robot0_eef_quat"] = np.where(quat[..., 3:] < 0, -quat, quat)
    if "gripper_width" in samples:
        observed["robot0_gripper_qpos"] = np.repeat(0.5 * np.asarray(samples["gripper_width"], dtype=np.float64), 2, axis=-1)
    return observed


def lowdim_rows(observed: Mapping[str, ArrayLike], keys: Sequence[str]) -> FloatArray:
    """Low-dimensional vectors (..., P), not normalised, from the result of :func:`proprioception` or the ``obs`` group of a data set.

    Raises :class:`ObservationError` for a key that is absent.
    """
    return np.concatenate([_lowdim(observed, key) for key in keys], axis=-1)


def _lowdim(observed: Mapping[str, ArrayLike], key: str) -> FloatArray:
    stored = "robot0_eef_quat" if key == "robot0_eef_rot6d" else key
    if stored not in observed:
        raise ObservationError(f"observation {stored} is missing; there are {', '.join(observed)}")
    value = np.asarray(observed[stored], dtype=np.float64)
    if key == "robot0_eef_rot6d":
        value = matrix_to_rot6d(quat_to_matrix(value))
    if value.shape[-1] != LOWDIM_SOURCES[key][1]:
        raise ObservationError(f"observation {key} has {value.shape[-1]} numbers, not {LOWDIM_SOURCES[key][1]}")
    return value
