"""The training log: TensorBoard for the eye, one JSON line a point for programs. A resumed run leaves no points behind its checkpoint."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"


class TrainingLog:
    """Scalars by step, under ``folder``; a context manager. Points at or after ``first_step`` of an earlier attempt are removed."""

    def __init__(self, folder: Path, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / METRICS
        kept = [line for line in _lines(self.path) if json.loads(line)["step"] <= first_step] if first_step else []
        part = self.path.with_suffix(".part")
        part.write_text("".join(kept), encoding="utf-8")
        part.replace(self.path)
        self._file = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        self._file.close()
        self._board.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log ``values`` after ``step`` steps."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)


def _lines(path: Path) -> list[str]:
    """Whole lines of the file; one cut off by a kill is dropped."""
    if not path.is_file():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
