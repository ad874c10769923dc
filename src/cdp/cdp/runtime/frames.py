"""An encoder as two networks: what looks at one camera frame, and what makes a condition of all frames of a window and the state.

A frame stays in the window for as many ticks as the window is long. What was seen in it does not change, so each is looked at once, and between
two chunks, where there is time, rather than when the newest image is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]

IMAGE, LOWDIM = "image", "lowdim"


class FrameEncoder:
    """The network that ``see`` and ``fuse`` make together, with a memory of one window. Not thread-safe.

    ``see``: image (1, 1, H, W, 3) uint8 -> features, an array of its own. ``fuse``: the features of the To frames, oldest first, and lowdim
    (1, To, P) -> condition (1, C). The features of a frame depend on its pixels alone and are found again by these, so the memory changes no result.
    """

    def __init__(
        self, window: int, see: Callable[[Pixels], Float32Array], fuse: Callable[[Sequence[Float32Array], Float32Array], Float32Array]
    ) -> None:
        self._window, self._see, self._fuse = window, see, fuse
        self._seen: list[tuple[Pixels, Float32Array]] = []

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Float32Array:
        """Condition of ``image`` (1, To, H, W, 3) uint8 and ``lowdim`` (1, To, P)."""
        image = inputs[IMAGE]
        features = [self.look(image[:, index : index + 1]) for index in range(self._window)]
        return self._fuse(features, inputs[LOWDIM])

    def look(self, frame: Pixels) -> Float32Array:
        """Features of a frame (1, 1, H, W, 3) uint8, which the next windows will find in the memory."""
        known = next((features for pixels, features in self._seen if np.array_equal(pixels, frame)), None)
        if known is not None:
            return known
        features = self._see(frame)
        self._seen = [*self._seen, (frame.copy(), features)][-self._window :]
        return features
