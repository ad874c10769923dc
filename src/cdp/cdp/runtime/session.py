"""A running policy: stamped images and robot states in, answers to images out. Nodes and simulations put their transport around it.

Every image is answered: on replanning ticks with a chunk, else with a keep-alive. A tick that still waits for a robot state, or for its chunk, is
answered when that comes, and the images that came meanwhile after it; while a chunk is waited for, each image that comes repeats the last keep-alive,
so that the guard knows that the policy lives. What is stale, or refused, stops the answers; the command guard then holds the robot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from numpy.typing import ArrayLike

from cdp.config import ConfigError
from cdp.data.images import ImageArray
from cdp.data.preprocess import ObservationError
from cdp.data.spec import NS_PER_S
from cdp.data.window import ObservationWindow, WindowArrays
from cdp.runtime.errors import InferenceError
from cdp.runtime.frozen import FrozenCamera
from cdp.runtime.planner import Job, Planner
from cdp.runtime.policy import ActionPrediction, PolicyRuntime
from cdp.runtime.session_types import Answer, Chunk, Event, Level, Schedule, Source, State
from cdp.runtime.stream_watch import StreamWatch
from cdp.runtime.worker import InlineWorker, Outcome, Plan, Worker

__all__ = ["Answer", "Chunk", "Event", "Level", "PolicySession", "Schedule", "Source", "State"]

_DELAYS_KEPT = 10
# The same picture after so much motion is no scene that stands still.
FROZEN_M, FROZEN_RAD = 0.02, 0.1


class PolicySession:
    """The policy from activation to deactivation, again and again. Not thread-safe: feed it from one executor thread.

    ``sources`` names the camera by the observation's image key and each robot stream by its own name. ``worker`` makes where planning runs from the
    planner's function; without one it runs where the session is called, and each answer is there when the call returns. Otherwise call
    :meth:`collect` when the worker has something. ``frozen`` tells a camera that repeats its picture. Raises :class:`ConfigError` where
    ``replan_ticks`` outlasts a chunk.
    """

    def __init__(
        self,
        runtime: PolicyRuntime,
        sources: Mapping[str, Source],
        replan_ticks: int,
        *,
        planner: Planner | None = None,
        worker: Callable[[Plan], Worker] = InlineWorker,
        frozen: FrozenCamera | None = None,
    ) -> None:
        horizon = runtime.bundle.policy.horizon
        if not 0 < replan_ticks < horizon:
            raise ConfigError(f"replan_ticks: {replan_ticks} is outside [1, {horizon - 1}]: a chunk of {runtime.bundle.name} has {horizon} rows")
        self.planner = Planner(runtime) if planner is None else planner
        self._worker = worker(self.planner.plan)
        self._observation = runtime.bundle.policy.observation
        self._window = ObservationWindow(self._observation, runtime.bundle.stats)
        self._watch = StreamWatch(
            {name: sources[name] for name in (self._observation.image_key, *self._observation.streams)},
            self._observation.image_key,
            FrozenCamera(FROZEN_M, FROZEN_RAD) if frozen is None else frozen,
        )
        self._replan_ticks = replan_ticks
        self._unanswered: list[int] = []
        self._planned_for: list[int] = []
        self._answered_ns: int | None = None
        self._observed_ns: int | None = None
        self._ticks_left = self._episode = 0
        self._has_plan = self._carries = self._dead_said = self._behind_said = False
        self._followed = True
        self._withheld = ""
        self._delays_ns: deque[int] = deque(maxlen=_DELAYS_KEPT)
        self._events: list[Event] = []
        self._seed: int | None = None
        self.schedule = Schedule()
        self.state = State.STOPPED
        self.message = "ready, not active"

    @property
    def delay_ns(self) -> int:
        """The largest of the last ten delays from an observation's stamp to its chunk, 0 before the first."""
        return max(self._delays_ns, default=0)

    def start(self, now_ns: int, seed: int | None = None) -> None:
        """Begin an episode: an empty window, the noise from ``seed``, or from the configured one."""
        self._watch.speak_again()
        self._seed = seed
        self.schedule = Schedule()
        self._delays_ns.clear()
        self._forget(now_ns)
        self.state, self.message = State.WAITING, "waiting for the first observation"

    def stop(self) -> None:
        """End the episode: nothing is answered until the next start; a chunk under way is waited for and dropped."""
        self._forget(0)
        self._worker.drain()
        self.state, self.message = State.STOPPED, "ready, not active"

    def close(self) -> None:
        """Stop for good, and end the worker."""
        self.stop()
        self._worker.close()

    def take_events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def refuse(self, stream: str, reason: str) -> None:
        """Say once that a message of ``stream`` cannot be used; it then counts as not received."""
        if self._watch.refuse(stream, reason):
            self._say(Level.ERROR, f"{self._watch.sources[stream].topic}: {reason}; such messages are ignored")

    def add_image(self, stamp_ns: int, rgb: ImageArray, now_ns: int) -> list[Answer]:
        """Take a camera image (H, W, 3) uint8; its answer, or none while there is nothing to say."""
        if self.state in (State.STOPPED, State.FAULT):
            return []
        key = self._observation.image_key
        newest = self._watch.newest_ns(key)
        if newest is not None and stamp_ns < newest:
            self._restart(key, newest - stamp_ns, now_ns)
        elif stamp_ns == newest:
            return []
        awaited_ns = self._window.pending_ns
        try:
            complete = self._window.add_image(stamp_ns, rgb)
        except ObservationError as error:
            self.refuse(key, str(error))
            return []
        self._watch.saw(stamp_ns, rgb)
        if awaited_ns is not None and self._window.pending_ns != awaited_ns:
            # Its states never came: a keep-alive would say that it was seen.
            self._unanswered = [each for each in self._unanswered if each < awaited_ns]
        self._unanswered.append(stamp_ns)
        answers = self._observe(now_ns) if complete else self._passed(now_ns)
        return answers or self._life_sign(stamp_ns)

    def add_sample(self, stream: str, stamp_ns: int, value: ArrayLike, now_ns: int) -> list[Answer]:
        """Take a robot state as :meth:`cdp.data.window.ObservationWindow.add` does; the answers to the images that waited for it."""
        if self.state in (State.STOPPED, State.FAULT) or stream not in self._watch.sources:
            return []
        newest = self._watch.newest_ns(stream)
        if newest is not None and newest - stamp_ns > self._watch.sources[stream].timeout_s * NS_PER_S:
            self._restart(stream, newest - stamp_ns, now_ns)
        try:
            complete = self._window.add(stream, stamp_ns, value)
        except ObservationError as error:
            self.refuse(stream, str(error))
            return []
        self._watch.sampled(stream, stamp_ns, value)
        return self._observe(now_ns) if complete else []

    def collect(self, now_ns: int) -> list[Answer]:
        """The answers that the worker's outcomes make possible, in the order of their images. Raises what planning raised unforeseen."""
        answers: list[Answer] = []
        for outcome in self._worker.take(now_ns):
            answers += self._conclude(outcome, now_ns)
        return answers

    def follow(self, followed: bool) -> None:
        """Say whether the robot does what the policy plans. While it does not, and right after, no chunk goes on from an earlier one."""
        self._followed = followed
        self._carries = self._carries and followed

    @property
    def streams(self) -> tuple[str, ...]:
        """The robot streams that the policy observes, besides its camera."""
        return self._observation.streams

    @property
    def seen_ns(self) -> int | None:
        """Stamp of the newest complete window, None before the first."""
        return self._window.stamp_ns

    def window(self) -> WindowArrays:
        """The newest complete window, answered or not. Raises :class:`cdp.data.preprocess.ObservationError` where there is none."""
        return self._window.get()

    def withhold(self, reason: str) -> None:
        """Answer nothing, as for a dead stream, until the ``reason`` is empty again; what comes in is still looked at."""
        self._withheld = reason

    def check(self, now_ns: int) -> None:
        """Notice streams that died or came back. Call it a few times within the shortest timeout."""
        if self.state in (State.WAITING, State.RUNNING):
            self._ready(now_ns)

    def _observe(self, now_ns: int) -> list[Answer]:
        """Answers to the newest tick, now complete, and to the images behind it, as far as there are any yet."""
        stamp_ns = self._window.stamp_ns
        if stamp_ns is None or not self._ready(now_ns):
            return []
        hole = self._observed_ns is None or stamp_ns - self._observed_ns > self._observation.max_gap_ns
        self._observed_ns = stamp_ns
        going_on = self._has_plan or bool(self._planned_for)
        if going_on and not hole and self._ticks_left > 1:
            self._ticks_left -= 1
            if self._ticks_left < self._observation.window:
                # This frame will be in the next chunk's window.
                self._worker.spare(partial(self.planner.runtime.look, self._window.get()["image"][-1]))
        else:
            self._ticks_left = self._replan_ticks
            self._submit(stamp_ns)
        return [*self.collect(now_ns), *self._keep_alives()]

    def _submit(self, stamp_ns: int) -> None:
        replaced = self._worker.submit(Job(self._episode, stamp_ns, self._window.get(), self.delay_ns, fresh=not self._carries, seed=self._seed))
        if replaced is not None and replaced.stamp_ns in self._planned_for:
            self._planned_for.remove(replaced.stamp_ns)
            self.schedule.replaced += 1
        self._planned_for.append(stamp_ns)

    def _conclude(self, outcome: Outcome, now_ns: int) -> list[Answer]:
        job = outcome.job
        if outcome.error is not None and not isinstance(outcome.error, InferenceError):
            raise outcome.error
        if job.episode != self._episode or job.stamp_ns not in self._planned_for:
            return []
        if outcome.prediction is None:
            self._fail(str(outcome.error))
            return []
        self._planned_for.remove(job.stamp_ns)
        chunk = self._chunk(job.stamp_ns, outcome.prediction, now_ns)
        if chunk is None:
            return self._keep_alives()
        self._has_plan, self._carries = True, self._followed
        if self.state is not State.RUNNING:
            self.state, self.message = State.RUNNING, "running"
        self._unanswered = [stamp_ns for stamp_ns in self._unanswered if stamp_ns > job.stamp_ns]
        self._answered_ns = job.stamp_ns
        return [Answer(job.stamp_ns, chunk), *self._keep_alives()]

    def _chunk(self, stamp_ns: int, prediction: ActionPrediction, now_ns: int) -> Chunk | None:
        """The rows that are still ahead; None where there are none."""
        period_ns = self._observation.period_ns
        delay_ns = max(0, now_ns - stamp_ns)
        self._delays_ns.append(delay_ns)
        # Row i is for (i + 1) periods after the observation; what is for now or before cannot be reached.
        past = min(delay_ns // period_ns, len(prediction.rows))
        if past == len(prediction.rows):
            self.schedule.expired += 1
            if not self._behind_said:
                self._behind_said = True
                self._say(
                    Level.WARNING,
                    f"a chunk came {delay_ns / NS_PER_S:.2f} s after its observation, when all of its rows were past; it was not sent, the arm goes "
                    "on with the last one and then holds; use fewer steps, more threads or a faster engine",
                )
            return None
        self.schedule.chunks += 1
        self.schedule.late += delay_ns > self._replan_ticks * period_ns
        self._behind_said = False
        return Chunk(stamp_ns + (1 + past) * period_ns, prediction.rows[past:], prediction, delay_ns)

    def _passed(self, now_ns: int) -> list[Answer]:
        """Answers after an image that is not a tick, or whose tick still waits."""
        return self._keep_alives() if self._ready(now_ns) else []

    def _life_sign(self, stamp_ns: int) -> list[Answer]:
        """The last keep-alive again, where the image ``stamp_ns`` has to wait for a chunk of an earlier one."""
        if self._has_plan and self._planned_for and stamp_ns > self._planned_for[0] and self._answered_ns is not None:
            return [Answer(self._answered_ns, None)]
        return []

    def _keep_alives(self) -> list[Answer]:
        """Keep-alives for the images before the first tick that waits for its states or its chunk."""
        waiting = [*self._planned_for, *([] if self._window.pending_ns is None else [self._window.pending_ns])]
        ready = [stamp_ns for stamp_ns in self._unanswered if not waiting or stamp_ns < min(waiting)]
        self._unanswered = self._unanswered[len(ready) :]
        if not ready or not self._has_plan:
            return []
        self._answered_ns = ready[-1]
        return [Answer(stamp_ns, None) for stamp_ns in ready]

    def _ready(self, now_ns: int) -> bool:
        """Whether every stream is alive and nothing is withheld; says so once when that changes."""
        dead = self._watch.finding(now_ns) or self._withheld
        if dead:
            if not self._dead_said:
                self._say(Level.ERROR, f"{dead}: no actions are sent; the policy goes on by itself when it comes back")
            self._dead_said = True
            self._drop_plans()
            self.state, self.message = State.WAITING, dead
        elif self._dead_said:
            self._dead_said = False
            self.message = "waiting for the next observation"
            self._say(Level.INFO, "every observation is back and nothing is withheld: the policy goes on")
        return not dead

    def _restart(self, name: str, back_ns: int, now_ns: int) -> None:
        self._say(Level.WARNING, f"{self._watch.sources[name].topic}: time went back by {back_ns / NS_PER_S:.3f} s; the policy starts anew")
        self.start(now_ns)

    def _forget(self, now_ns: int) -> None:
        self._window.clear()
        self._watch.clear(now_ns)
        self._episode += 1
        self._drop_plans()
        self._observed_ns = self._answered_ns = None
        self._ticks_left = 0
        self._dead_said = self._behind_said = False

    def _drop_plans(self) -> None:
        """Follow nothing that was planned, nor answer what is unanswered: the next complete window is planned from."""
        self._has_plan = self._carries = False
        self._unanswered, self._planned_for = [], []

    def _fail(self, reason: str) -> None:
        self._drop_plans()
        self.state, self.message = State.FAULT, reason
        self._say(Level.ERROR, f"{reason}. The policy is stopped; deactivate and activate it to try again")

    def _say(self, level: Level, text: str) -> None:
        self._events.append(Event(level, text))
