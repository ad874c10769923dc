"""Going on with a training: which checkpoint, and whether it is of the same training."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cdp.config import to_mapping
from cdp.train.checkpoint import CheckpointError, latest_checkpoint

# Settings that checkpoints of earlier versions do not name, and what those were trained with.
_ADDED = {"precision": "fp32", "freeze_encoder": False, "encoder_draws": 0}


class TrainingError(RuntimeError):
    """A training that cannot go on; the message says what was kept and what to do."""


def checkpoint_to_resume(folder: Path, resume: bool) -> Path | None:
    """Newest checkpoint under ``folder``, None for a training that starts. Raises :class:`TrainingError` for one that is there unasked."""
    newest = latest_checkpoint(folder)
    if newest is not None and not resume:
        raise TrainingError(
            f"{folder} already holds a training, up to {newest.name}; go on with --resume, start anew with --overwrite, or choose another --output"
        )
    return newest


def identity_of(config: Any, free: Collection[str], dataset_sha256: str) -> dict[str, Any]:
    """What has to stay the same for the loss curve to go on: the settings but those called ``free``, and the data."""
    identity = {key: value for key, value in to_mapping(config).items() if key not in free}
    return {**identity, "dataset_sha256": dataset_sha256}


def check_identity(checkpoint: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises :class:`CheckpointError`, naming the first difference, where the checkpoint is of another training."""
    stored = {**_ADDED, **stored}
    for key, value in now.items():
        if stored.get(key) != value:
            raise CheckpointError(
                f"{checkpoint} is of another training: its {key} was {stored.get(key)!r}, now it is {value!r}; "
                "give the same configuration and data, or choose another --output"
            )


def check_alike(main: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raises :class:`TrainingError`, naming the first difference, where a process trains something else than the main one."""
    for key, value in here.items():
        if main.get(key) != value:
            raise TrainingError(f"the processes differ: {key} is {main.get(key)!r} for the main one and {value!r} here; give all of them the same")
