"""Checkpoints: tensors as safetensors, the rest as JSON, complete or absent.

Nothing random is stored: batches and noise follow from the seed and the step.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

STATE = "state.json"
KEPT = 2


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint's files hold, on the CPU."""

    path: Path
    state: dict[str, Any]
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimiser: dict[str, Tensor]

    def restore(self, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Set the three to it. Raises :class:`CheckpointError` where it does not fit them."""
        try:
            model.load_state_dict(self.model)
            average.load_state_dict(self.average)
            _restore_optimiser(optimiser, self.optimiser)
        except (RuntimeError, KeyError, ValueError) as error:
            raise _misfit(self.path, error) from error


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, state: Mapping[str, Any]
) -> Path:
    """Write the state after ``step`` steps under ``folder`` and drop all but the newest :data:`KEPT`.

    A kill at any time leaves the older ones whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / f"step_{step:09d}", folder / f".step_{step:09d}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save_file(_tensors(model.state_dict()), part / "model.safetensors")
    save_file(_tensors(average.state_dict()), part / "average.safetensors")
    save_file(_optimiser_tensors(optimiser), part / "optimiser.safetensors")
    (part / STATE).write_text(json.dumps({"step": step, **state}), encoding="utf-8")
    for file in part.iterdir():
        _sync(file)
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    _sync(folder)
    for old in _checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """Newest complete checkpoint under ``folder``."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def remove_checkpoints(folder: Path) -> None:
    """Remove every checkpoint under ``folder``."""
    for path in _checkpoints(folder):
        shutil.rmtree(path)


def load_checkpoint(path: Path, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore the three in place and return the stored state. Raises :class:`CheckpointError` where the files do not fit them."""
    found = read_checkpoint(path)
    found.restore(model, average, optimiser)
    return found.state


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in the folder ``path``. Raises :class:`CheckpointError` where its files cannot be read."""
    try:
        state: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
        model, average, optimiser = (load_file(path / f"{name}.safetensors") for name in ("model", "average", "optimiser"))
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise _misfit(path, error) from error
    return Checkpoint(path, state, model, average, optimiser)


def _misfit(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: this checkpoint does not fit ({error}); remove it to go on from an older one")


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step_*") if (p / STATE).is_file())


def _tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return _tensors({f"{index}.{name}": value for index, values in state.items() for name, value in values.items()})


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    restored: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        restored.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({"state": restored, "param_groups": optimiser.state_dict()["param_groups"]})


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
