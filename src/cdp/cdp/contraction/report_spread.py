"""How much of an action the noise decides: the spread over seeds, within the modes of an observation and between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

MODE_DISTANCE = 0.25
"""Actions closer than this (root mean square over their elements, normalised) belong to one mode, as do those joined by a chain of such."""
MODE_SHARE = 0.05
"""A mode holds at least this share of an observation's samples; what is in smaller clusters counts to the nearest mode."""


@dataclass(frozen=True)
class ActionSpread:
    """For each of N observations: standard deviation over the seeds, root mean square over the action; its two parts; the number of modes.

    ``total^2 = within^2 + between^2``.
    """

    total: Tensor
    within: Tensor
    between: Tensor
    modes: Tensor


def action_spread(actions: Tensor, distance: float = MODE_DISTANCE, share: float = MODE_SHARE) -> ActionSpread:
    """Spread of ``actions`` (N, S, ...), S >= 2 samples for each of N observations."""
    rows = []
    for samples in actions.detach().flatten(2).double().cpu():
        labels = torch.from_numpy(mode_labels(samples.numpy(), distance, share))
        counts = torch.bincount(labels)
        centres = torch.stack([samples[labels == k].mean(dim=0) for k in range(len(counts))])
        scale = 1.0 / ((len(samples) - 1) * samples.shape[1])
        within = (samples - centres[labels]).square().sum() * scale
        between = (centres[labels] - samples.mean(dim=0)).square().sum() * scale
        rows.append((float((within + between).sqrt()), float(within.sqrt()), float(between.sqrt()), float(len(counts))))
    total, within_all, between_all, modes = torch.tensor(rows, dtype=torch.float64).T
    return ActionSpread(total, within_all, between_all, modes)


def mode_labels(samples: NDArray[np.float64], distance: float = MODE_DISTANCE, share: float = MODE_SHARE) -> NDArray[np.int64]:
    """Mode (S,) from 0 of each of ``samples`` (S, d): single-linkage clusters cut at ``distance``, those below ``share`` dissolved.

    Where no cluster reaches ``share`` the samples are scattered more widely than ``distance`` everywhere: that is one broad mode.
    """
    clusters = fcluster(linkage(samples / np.sqrt(samples.shape[1]), method="single"), distance, criterion="distance")
    names, counts = np.unique(clusters, return_counts=True)
    kept = names[counts >= max(2, share * len(samples))]
    if not len(kept):
        return np.zeros(len(samples), dtype=np.int64)
    centres = np.stack([samples[clusters == name].mean(axis=0) for name in kept])
    nearest = np.linalg.norm(samples[:, None] - centres[None], axis=2).argmin(axis=1)
    own = np.searchsorted(kept, clusters)
    labels: NDArray[np.int64] = np.where(np.isin(clusters, kept), own, nearest).astype(np.int64)
    return labels
