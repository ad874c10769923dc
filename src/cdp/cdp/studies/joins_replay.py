"""Recorded observations through the session that a robot runs, with a delay of one's own choice, and the motion that the arm would be sent.

Open loop: what the policy does changes nothing of what it sees. Deterministic: the delay is of the recording's clock, not of the machine's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from cdp.data.dataset import split_names
from cdp.geometry import FloatArray
from cdp.runtime import JoinConfig, PolicyRuntime
from cdp.runtime.joins import TimedChunk
from cdp.runtime.planner import Job, Planner
from cdp.runtime.session import Answer, PolicySession, Source
from cdp.runtime.worker import Outcome, Plan, run

_TIMEOUT_S = 1.0


@dataclass(frozen=True, eq=False)
class Recording:
    """One demonstration at the policy rate: what was seen at each of N stamps, and what was done."""

    stamp_ns: NDArray[np.int64]
    image: NDArray[np.uint8]
    """(N, H, W, 3)."""
    pose: FloatArray
    """(N, 7): x y z [m], quaternion xyzw."""
    joints: FloatArray
    """(N, 7) [rad]."""
    width: FloatArray
    """(N, 1): the gripper's opening [m]."""
    action: FloatArray
    """(N, 3): the demonstrated position [m], for one policy period after the stamp."""


@dataclass(frozen=True, eq=False)
class Sent:
    """A chunk that the guard would get: when, and its rows in time."""

    at_ns: int
    chunk: TimedChunk


def load_recordings(path: Path, split: str = "valid") -> list[Recording]:
    """The demonstrations of one split of ``path``. Raises OSError and KeyError for a file that is not one of demonstrations."""
    with h5py.File(path, "r") as file:
        return [_load(file["data"][name]) for name in split_names(file, split)]


def _load(demo: h5py.Group) -> Recording:
    obs = demo["obs"]
    return Recording(
        demo["stamp_ns"][()],
        obs["agentview_image"][()],
        np.concatenate([obs["robot0_eef_pos"][()], obs["robot0_eef_quat"][()]], axis=1),
        obs["robot0_joint_pos"][()],
        np.abs(obs["robot0_gripper_qpos"][()]).sum(axis=1, keepdims=True),
        demo["action_dict/abs_pos"][()],
    )


class DelayedWorker:
    """Plans at once and hands the outcome over ``delay_ns`` after the window's stamp."""

    def __init__(self, plan: Plan, delay_ns: int) -> None:
        self._plan, self._delay_ns = plan, delay_ns
        self._due: list[tuple[int, Outcome]] = []

    @property
    def next_ns(self) -> int | None:
        """When the next outcome is due."""
        return self._due[0][0] if self._due else None

    def submit(self, job: Job) -> Job | None:
        """Plan ``job``; it never waits for another."""
        self._due.append((job.stamp_ns + self._delay_ns, run(self._plan, job)))
        return None

    def spare(self, work: Callable[[], None]) -> None:
        """Nothing: planning takes no time here."""

    def take(self, now_ns: int) -> list[Outcome]:
        """What is due."""
        ended = [outcome for at_ns, outcome in self._due if at_ns <= now_ns]
        self._due = self._due[len(ended) :]
        return ended

    def drain(self) -> None:
        """Forget what is due."""
        self._due = []

    close = drain


def replay(runtime: PolicyRuntime, join: JoinConfig, recording: Recording, delay_s: float, replan_ticks: int) -> list[Sent]:
    """The chunks of one recording, each coming ``delay_s`` after its observation. The runtime's noise begins anew."""
    observation = runtime.bundle.policy.observation
    sources = {name: Source(name, _TIMEOUT_S) for name in (observation.image_key, "joint_pos", "eef_pose", "gripper_width")}
    workers: list[DelayedWorker] = []

    def make(plan: Plan) -> DelayedWorker:
        workers.append(DelayedWorker(plan, round(delay_s * 1e9)))
        return workers[-1]

    session = PolicySession(runtime, sources, replan_ticks, planner=Planner(runtime, join), worker=make)
    stamps = [int(stamp_ns) for stamp_ns in recording.stamp_ns]
    session.start(stamps[0])
    sent: list[Sent] = []

    def keep(now_ns: int, answers: Sequence[Answer]) -> None:
        for answer in answers:
            if (chunk := answer.chunk) is not None:
                timed = TimedChunk(chunk.start_ns, observation.period_ns, chunk.rows, chunk.prediction.normalised)
                sent.append(Sent(now_ns, timed))

    for i, stamp_ns in enumerate(stamps):
        while (due_ns := workers[0].next_ns) is not None and due_ns < stamp_ns:
            keep(due_ns, session.collect(due_ns))
        for stream, value in (("joint_pos", recording.joints[i]), ("eef_pose", recording.pose[i]), ("gripper_width", recording.width[i])):
            keep(stamp_ns, session.add_sample(stream, stamp_ns, value, stamp_ns))
        keep(stamp_ns, session.add_image(stamp_ns, recording.image[i], stamp_ns))
    return sent


class Motion:
    """Where the arm is sent (position only): from the commanded target to a chunk's first row, from row to row, then its last one.

    As the guard follows chunks (:class:`ChunkMotion` of ``cdp_franka``), without its limits.
    """

    def __init__(self, sent: Sequence[Sent]) -> None:
        """``sent`` in the order of its coming, at least one."""
        self._from_ns = np.array([each.at_ns for each in sent])
        self._parts: list[tuple[FloatArray, FloatArray]] = []
        for each in sent:
            times = each.chunk.start_ns + each.chunk.dt_ns * np.arange(len(each.chunk.rows), dtype=np.float64)
            # Before the first chunk the arm stands at its first row.
            anchor = self.position(np.array([each.at_ns]), len(self._parts) - 1)[0] if self._parts else each.chunk.rows[0, :3]
            self._parts.append((np.append(each.at_ns, times), np.vstack([anchor, each.chunk.rows[:, :3]])))

    def position(self, at_ns: NDArray[np.integer], part: int | None = None) -> FloatArray:
        """Positions (N, 3) [m] at times (N,), of the chunk in force or of the one of index ``part``."""
        which = self.part(at_ns) if part is None else np.full(len(at_ns), part)
        found = np.empty((len(at_ns), 3))
        for k in np.unique(which):
            times, points = self._parts[k]
            for axis in range(3):
                found[which == k, axis] = np.interp(at_ns[which == k], times, points[:, axis])
        return found

    def part(self, at_ns: NDArray[np.integer]) -> NDArray[np.int64]:
        """Index of the chunk in force at times (N,); the first before any."""
        return np.maximum(np.searchsorted(self._from_ns, at_ns, side="right") - 1, 0)


def made_up(seed: int, image_size: int, rows: int = 24) -> Recording:
    """Something to look at that needs no demonstrations: noise for pictures, a hand on a straight line."""
    rng = np.random.default_rng(seed)
    position = np.array([0.45, 0.0, 0.2]) + np.linspace(0.0, 0.1, rows)[:, None] * rng.normal(size=3)
    return Recording(
        np.int64(1_000_000_000) + np.arange(rows, dtype=np.int64) * 100_000_000,
        rng.integers(0, 256, (rows, image_size, image_size, 3), dtype=np.uint8),
        np.hstack([position, np.tile([1.0, 0.0, 0.0, 0.0], (rows, 1))]),
        np.zeros((rows, 7)),
        np.full((rows, 1), 0.08),
        position,
    )
