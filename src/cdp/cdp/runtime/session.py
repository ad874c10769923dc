"""A running policy: stamped images and robot states in, answers to images out. Nodes and simulations put their transport around it.

Every image is answered: on replanning ticks with a chunk, else with a keep-alive. A tick that still waits for a robot state is answered when that
comes, and the images that came meanwhile after it. What is stale, or refused, stops the answers; the command guard then holds the robot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from numpy.typing import ArrayLike

from cdp.config import ConfigError
from cdp.data.images import ImageArray
from cdp.data.preprocess import ObservationError
from cdp.data.spec import NS_PER_S
from cdp.data.window import ObservationWindow
from cdp.runtime.errors import InferenceError
from cdp.runtime.policy import ActionPrediction, PolicyRuntime


class State(Enum):
    """What a session is doing."""

    STOPPED = "stopped"
    WAITING = "waiting"
    RUNNING = "running"
    FAULT = "fault"


class Level(Enum):
    """How bad an event is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Event:
    """Something that a person should read, said once."""

    level: Level
    text: str


@dataclass(frozen=True)
class Answer:
    """The answer to one image: a chunk, or None to go on with the last."""

    observation_stamp_ns: int
    prediction: ActionPrediction | None


@dataclass(frozen=True)
class Source:
    """Where a stream comes from, and the age from which it counts as dead."""

    topic: str
    timeout_s: float


class PolicySession:
    """The policy from activation to deactivation, again and again. Not thread-safe: feed it from one executor thread.

    ``sources`` names the camera by the observation's image key and each robot stream by its own name. Raises :class:`ConfigError` where
    ``replan_ticks`` outlasts a chunk.
    """

    def __init__(self, runtime: PolicyRuntime, sources: Mapping[str, Source], replan_ticks: int) -> None:
        horizon = runtime.bundle.policy.horizon
        if not 0 < replan_ticks < horizon:
            raise ConfigError(f"replan_ticks: {replan_ticks} is outside [1, {horizon - 1}]: a chunk of {runtime.bundle.name} has {horizon} rows")
        self._runtime = runtime
        self._observation = runtime.bundle.policy.observation
        self._window = ObservationWindow(self._observation, runtime.bundle.stats)
        self._sources = {name: sources[name] for name in (self._observation.image_key, *self._observation.streams)}
        self._replan_ticks = replan_ticks
        self._newest: dict[str, int] = {}
        self._behind_tick: list[int] = []
        self._observed_ns: int | None = None
        self._ticks_left = self._started_ns = 0
        self._has_plan = self._dead_said = False
        self._events: list[Event] = []
        self._refused: dict[str, str] = {}
        self.state = State.STOPPED
        self.message = "ready, not active"

    def start(self, now_ns: int, seed: int | None = None) -> None:
        """Begin an episode: an empty window, the noise from ``seed``, or from the configured one."""
        self._refused.clear()
        self._runtime.reset(seed)
        self._forget(now_ns)
        self.state, self.message = State.WAITING, "waiting for the first observation"

    def stop(self) -> None:
        """End the episode: nothing is answered until the next start."""
        self._forget(0)
        self.state, self.message = State.STOPPED, "ready, not active"

    def take_events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def refuse(self, stream: str, reason: str) -> None:
        """Say once that a message of ``stream`` cannot be used; it then counts as not received."""
        if self._refused.get(stream) != reason:
            self._refused[stream] = reason
            self._say(Level.ERROR, f"{self._sources[stream].topic}: {reason}; such messages are ignored")

    def add_image(self, stamp_ns: int, rgb: ImageArray, now_ns: int) -> list[Answer]:
        """Take a camera image (H, W, 3) uint8; its answer, or none while there is nothing to say."""
        if self.state in (State.STOPPED, State.FAULT):
            return []
        key = self._observation.image_key
        newest = self._newest.get(key)
        if newest is not None and stamp_ns < newest:
            self._restart(key, newest - stamp_ns, now_ns)
        elif stamp_ns == newest:
            return []
        try:
            complete = self._window.add_image(stamp_ns, rgb)
        except ObservationError as error:
            self.refuse(key, str(error))
            return []
        self._received(key, stamp_ns)
        if complete:
            return self._observe(now_ns)
        pending_ns = self._window.pending_ns
        if pending_ns is not None:
            # A keep-alive would promise that the tick before this image was seen too.
            self._behind_tick = [] if pending_ns == stamp_ns else [*self._behind_tick, stamp_ns]
            return []
        return [Answer(stamp_ns, None)] if self._ready(now_ns) and self._has_plan else []

    def add_sample(self, stream: str, stamp_ns: int, value: ArrayLike, now_ns: int) -> list[Answer]:
        """Take a robot state as :meth:`cdp.data.window.ObservationWindow.add` does; the answers to the images that waited for it."""
        if self.state in (State.STOPPED, State.FAULT) or stream not in self._sources:
            return []
        newest = self._newest.get(stream)
        if newest is not None and newest - stamp_ns > self._sources[stream].timeout_s * NS_PER_S:
            self._restart(stream, newest - stamp_ns, now_ns)
        try:
            complete = self._window.add(stream, stamp_ns, value)
        except ObservationError as error:
            self.refuse(stream, str(error))
            return []
        self._received(stream, stamp_ns)
        return self._observe(now_ns) if complete else []

    def check(self, now_ns: int) -> None:
        """Notice streams that died or came back. Call it a few times within the shortest timeout."""
        if self.state in (State.WAITING, State.RUNNING):
            self._ready(now_ns)

    def _observe(self, now_ns: int) -> list[Answer]:
        """Answers to the newest tick, now complete, and to the images behind it."""
        stamp_ns = self._window.stamp_ns
        behind, self._behind_tick = self._behind_tick, []
        if stamp_ns is None or not self._ready(now_ns):
            return []
        hole = self._observed_ns is None or stamp_ns - self._observed_ns > self._observation.max_gap_ns
        self._observed_ns = stamp_ns
        keep_alives = [Answer(image_ns, None) for image_ns in behind]
        if self._has_plan and not hole and self._ticks_left > 1:
            self._ticks_left -= 1
            return [Answer(stamp_ns, None), *keep_alives]
        try:
            prediction = self._runtime.act(self._window.get())
        except InferenceError as error:
            self._fail(str(error))
            return []
        self._has_plan, self._ticks_left = True, self._replan_ticks
        if self.state is not State.RUNNING:
            self.state, self.message = State.RUNNING, "running"
        return [Answer(stamp_ns, prediction), *keep_alives]

    def _ready(self, now_ns: int) -> bool:
        """Whether every stream is alive; says so once when that changes."""
        if self._started_ns == 0:
            self._started_ns = now_ns
        dead = next((text for name in self._sources if (text := self._dead(name, now_ns))), "")
        if dead:
            if not self._dead_said:
                self._say(Level.ERROR, f"{dead}: no actions are sent; the policy goes on by itself when it comes back")
            self._dead_said, self._has_plan = True, False
            self.state, self.message = State.WAITING, dead
        elif self._dead_said:
            self._dead_said = False
            self.message = "waiting for the next observation"
            self._say(Level.INFO, "every observation is back: the policy goes on")
        return not dead

    def _dead(self, name: str, now_ns: int) -> str:
        source, newest = self._sources[name], self._newest.get(name)
        age_s = (now_ns - (self._started_ns if newest is None else newest)) / NS_PER_S
        if now_ns == 0 or abs(age_s) <= source.timeout_s:  # at 0 simulated time has not begun
            return ""
        if newest is None:
            return f"nothing usable on {source.topic} for {age_s:.2f} s since the start" if age_s > 0 else ""
        if age_s < 0:
            return f"{source.topic} is stamped {-age_s:.2f} s in the future"
        return f"the newest message on {source.topic} is {age_s:.2f} s old, more than {source.timeout_s:g} s"

    def _received(self, name: str, stamp_ns: int) -> None:
        self._newest[name] = max(stamp_ns, self._newest.get(name, stamp_ns))
        self._refused.pop(name, None)

    def _restart(self, name: str, back_ns: int, now_ns: int) -> None:
        self._say(Level.WARNING, f"{self._sources[name].topic}: time went back by {back_ns / NS_PER_S:.3f} s; the policy starts anew")
        self.start(now_ns)

    def _forget(self, now_ns: int) -> None:
        self._window.clear()
        self._newest.clear()
        self._behind_tick = []
        self._observed_ns = None
        self._ticks_left = 0
        self._has_plan = self._dead_said = False
        self._started_ns = now_ns

    def _fail(self, reason: str) -> None:
        self.state, self.message, self._has_plan = State.FAULT, reason, False
        self._say(Level.ERROR, f"{reason}. The policy is stopped; deactivate and activate it to try again")

    def _say(self, level: Level, text: str) -> None:
        self._events.append(Event(level, text))
