"""How far a sampled chunk depends on its noise, and where an observation lies, in arrays; the report's figures hold the same definitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdp.actions import GRIPPER, GRIPPER_MAX_WIDTH_M, POSITION, ROT6D, gripper_to_width_m
from cdp.data.normalise import MinMax
from cdp.geometry import FloatArray, rot6d_to_matrix

PAIR_DISTANCE = 0.05
"""Distance of two noises whose actions are compared, as :func:`cdp.contraction.report_lipschitz.pair_distance` has it for single precision."""


@dataclass(frozen=True)
class ActionSpreadSI:
    """Standard deviation over K samples, root mean square over the rows of a chunk: of position [m], rotation [rad] and opening [m]."""

    position_m: float
    rotation_rad: float
    gripper_m: float


def action_std(chunks: ArrayLike) -> float:
    """Standard deviation over K >= 2 normalised chunks (K, T, D), root mean square over the chunk: the report's ``action_std``."""
    return float(np.sqrt(np.asarray(chunks, dtype=np.float64).var(axis=0, ddof=1).mean()))


def action_std_si(chunks: ArrayLike, action: MinMax) -> ActionSpreadSI:
    """The same of the chunks (K, T, 10) as they would be sent: distance from the mean position, angle from the mean rotation, opening.

    The mean rotation is the chordal one: the rotation nearest to the mean matrix. NaN where a sample is not finite or no rotation.
    """
    rows = action.denormalise(chunks)
    free = 1.0 / (len(rows) - 1)
    width = np.clip(gripper_to_width_m(rows[..., GRIPPER]), 0.0, GRIPPER_MAX_WIDTH_M)
    position, gripper = (np.sqrt(np.square(part - part.mean(axis=0)).sum(axis=(0, 2)) * free) for part in (rows[..., POSITION], width))
    try:
        rotation = _rotation_std(rot6d_to_matrix(rows[..., ROT6D]))
    except (ValueError, np.linalg.LinAlgError):
        rotation = np.array([np.nan])
    return ActionSpreadSI(*(float(np.sqrt(np.square(each).mean())) for each in (position, rotation, gripper)))


def pair_ratios(before: ArrayLike, after: ArrayLike) -> FloatArray:
    """Lipschitz ratios ``|Phi(x) - Phi(y)| / |x - y|`` (K,) of 2 K noises ``before`` (2 K, ...), y after all x, sampled to ``after`` (2 K, ...)."""
    drawn, sampled = (np.asarray(values, dtype=np.float64).reshape(2, len(np.asarray(values)) // 2, -1) for values in (before, after))
    return np.asarray(np.linalg.norm(sampled[1] - sampled[0], axis=-1) / np.linalg.norm(drawn[1] - drawn[0], axis=-1))


def paired_noise(seeds: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """2 K standard normal noises (2 K, ...): K independent ones, then each moved by :data:`PAIR_DISTANCE` in a random direction."""
    first, direction = rng.standard_normal((2, seeds, *shape))
    length = np.linalg.norm(direction.reshape(seeds, -1), axis=1).reshape(-1, *(1 for _ in shape))
    return np.concatenate([first, first + PAIR_DISTANCE * direction / length]).astype(np.float32)


def extent(lowdim: ArrayLike) -> float:
    """Largest magnitude of normalised low-dimensional values: 1 at the edge of the training data's range, more outside of it."""
    return float(np.abs(np.asarray(lowdim, dtype=np.float64)).max())


def _rotation_std(matrices: FloatArray) -> FloatArray:
    """Angles [rad] (T,) of rotations (K, T, 3, 3) about their means."""
    u, _, vt = np.linalg.svd(matrices.mean(axis=0))
    flip = np.ones((len(u), 3))
    flip[:, 2] = np.linalg.det(u @ vt)
    mean = (u * flip[:, None, :]) @ vt
    # From the chord: the arc cosine of a trace has no digits left for small angles.
    chord = np.linalg.norm(matrices - mean, axis=(2, 3)) / np.sqrt(8.0)
    angles = 2.0 * np.arcsin(np.minimum(chord, 1.0))
    return np.asarray(np.sqrt(np.square(angles).sum(axis=0) / (len(matrices) - 1)))
