"""What a session needs of its streams before it acts: each alive, none from the future, the camera not stuck."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import ArrayLike

from cdp.data.images import ImageArray
from cdp.data.spec import NS_PER_S
from cdp.runtime.frozen import FrozenCamera
from cdp.runtime.session_types import Source


class StreamWatch:
    """The newest stamp of each of the ``sources``, of which ``camera`` is one, and what is wrong with them."""

    def __init__(self, sources: Mapping[str, Source], camera: str, frozen: FrozenCamera) -> None:
        self.sources, self._camera, self._frozen = dict(sources), camera, frozen
        self._refused: dict[str, str] = {}
        self.clear(0)

    def clear(self, now_ns: int) -> None:
        """Forget what came; waiting begins at ``now_ns``, or where that is 0 at the next look. What was refused stays said."""
        self._newest: dict[str, int] = {}
        self._started_ns = now_ns
        self._frozen.clear()

    def newest_ns(self, name: str) -> int | None:
        """The newest stamp of a stream, None before the first."""
        return self._newest.get(name)

    def saw(self, stamp_ns: int, rgb: ImageArray) -> None:
        """Take a usable image (H, W, 3) uint8; it is kept, not copied."""
        self._received(self._camera, stamp_ns)
        self._frozen.see(rgb)

    def sampled(self, stream: str, stamp_ns: int, value: ArrayLike) -> None:
        """Take a usable sample of a robot stream."""
        self._received(stream, stamp_ns)
        self._frozen.moved(stream, value)

    def refuse(self, stream: str, reason: str) -> bool:
        """Take it that a message of ``stream`` cannot be used. Whether that is news: its last one was usable, or refused for another reason."""
        if self._refused.get(stream) == reason:
            return False
        self._refused[stream] = reason
        return True

    def speak_again(self) -> None:
        """Say every refusal once more when it comes."""
        self._refused.clear()

    def finding(self, now_ns: int) -> str:
        """What is wrong, in words; empty where nothing is."""
        if self._started_ns == 0:
            self._started_ns = now_ns
        return next((text for name in self.sources if (text := self._dead(name, now_ns))), "") or self._stuck()

    def _received(self, name: str, stamp_ns: int) -> None:
        self._newest[name] = max(stamp_ns, self._newest.get(name, stamp_ns))
        self._refused.pop(name, None)

    def _dead(self, name: str, now_ns: int) -> str:
        source, newest = self.sources[name], self._newest.get(name)
        age_s = (now_ns - (self._started_ns if newest is None else newest)) / NS_PER_S
        if now_ns == 0 or abs(age_s) <= source.timeout_s:  # at 0 simulated time has not begun
            return ""
        if newest is None:
            return f"nothing usable on {source.topic} for {age_s:.2f} s since the start" if age_s > 0 else ""
        if age_s < 0:
            return f"{source.topic} is stamped {-age_s:.2f} s in the future"
        return f"the newest message on {source.topic} is {age_s:.2f} s old, more than {source.timeout_s:g} s"

    def _stuck(self) -> str:
        return f"{self.sources[self._camera].topic} {self._frozen.finding}" if self._frozen.finding else ""
