"""Starts that are the same for every policy: words, a picture to put things by, and the camera's view laid over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cdp.evaluation.plan import Rollout

Picture = NDArray[np.uint8]
Camera = Callable[[], Picture | None]
#: Words and, where somebody can draw it, a picture (H, W, 3) uint8 RGB of the start that a seed draws.
Describe = Callable[[int], tuple[str, Picture | None]]

_UNKNOWN = "no description of this task's starts is installed: place things freely at the first rollout of a start, the later ones by its picture"


def undescribed(seed: int) -> tuple[str, Picture | None]:
    """The description of a start of a task that nobody has described."""
    return _UNKNOWN, None


class StartPictures:
    """Pictures of the starts in ``folder``: drawn ones, and from its first rollout on the camera's own view of each start."""

    def __init__(self, folder: Path, describe: Describe, camera: Camera) -> None:
        self._folder, self._describe, self._camera = folder, describe, camera

    def describe(self, rollout: Rollout) -> tuple[str, str]:
        """What to put where, and the path of the picture to do it by; empty where there is none yet."""
        text, picture = self._describe(rollout.seed)
        if picture is not None and not self._drawn(rollout).exists():
            self._write(self._drawn(rollout), picture)
        path = self._reference(rollout)
        return text, "" if path is None else str(path)

    def placed(self, rollout: Rollout) -> None:
        """Keep the camera's view of this start where there is none yet: what the policies after this one are placed by."""
        if not self._placed(rollout).exists() and (view := self._camera()) is not None:
            self._write(self._placed(rollout), view)

    def overlay(self, rollout: Rollout) -> str:
        """Write the mean of the camera's view and the start's picture to ``overlay.png``; where things stand twice, they stand wrong."""
        reference, view = self._reference(rollout), self._camera()
        if view is None:
            return "no picture has come from the camera: is it running?"
        if reference is None:
            return "there is no picture of this start yet: this placement will be the one that the others are compared with"
        other: Picture = np.asarray(cv2.cvtColor(np.asarray(cv2.imread(str(reference))), cv2.COLOR_BGR2RGB), dtype=np.uint8)
        if other.shape != view.shape:
            other = np.asarray(cv2.resize(other, (view.shape[1], view.shape[0]), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        path = self._folder / "overlay.png"
        self._write(path, np.asarray(cv2.addWeighted(view, 0.5, np.asarray(other, dtype=np.uint8), 0.5, 0.0), dtype=np.uint8))
        off = float(np.mean(np.abs(view.astype(np.float32) - np.asarray(other, dtype=np.float32))))
        return f"written to {path}: the view of now over {reference.name}, mean difference {off:.1f} of 255"

    def _reference(self, rollout: Rollout) -> Path | None:
        return next((path for path in (self._placed(rollout), self._drawn(rollout)) if path.exists()), None)

    def _drawn(self, rollout: Rollout) -> Path:
        return self._folder / f"start_{rollout.start:03d}_drawn.png"

    def _placed(self, rollout: Rollout) -> Path:
        return self._folder / f"start_{rollout.start:03d}_placed.png"

    def _write(self, path: Path, picture: Picture) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
