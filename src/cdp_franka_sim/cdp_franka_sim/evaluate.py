"""The policy loop in one process: simulator, observation window, sampler and guard, the same parts as in the nodes, without ROS between them.

Simulated time stands still while the policy computes, as in lock-step; so both give the same numbers within the noise of contact and sampling.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from tqdm import tqdm

from cdp.bundle.reader import Bundle
from cdp.config import from_mapping
from cdp.data.spec import NS_PER_S
from cdp.runtime import ActionPrediction, PolicyRuntime, RuntimeConfig
from cdp.runtime.session import Answer, PolicySession, Source
from cdp_franka.guard import GuardCore
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import ActionData, Space, State
from cdp_franka.guard_types import Source as ActionSource
from cdp_franka_sim.config import SimConfig
from cdp_franka_sim.episode_media import ContactSheet, EpisodeVideo
from cdp_franka_sim.episode_results import EpisodeResult, RunResults
from cdp_franka_sim.physics import FrankaSim
from cdp_franka_sim.tasks import make_task

TICK_S = 0.01
CAMERA_RATE_HZ = 30.0
REPLAN_TICKS = 4
STREAM_TIMEOUT_S = 0.5
VIDEO_EVERY = 3

#: Called with each episode's fields as it ends.
Progress = Callable[[dict[str, Any]], None]

_log = logging.getLogger(__name__)


@dataclass
class _Episode:
    """One episode's progress."""

    seed: int
    start_ns: int
    next_image_ns: int
    images: int = 0
    sequence: int = 0


class PolicyLoop:
    """Simulator, policy session and guard, stepped together."""

    def __init__(
        self,
        runtime: PolicyRuntime,
        output: Path | None,
        timeout_s: float,
        replan_ticks: int = REPLAN_TICKS,
        camera_rate_hz: float = CAMERA_RATE_HZ,
    ) -> None:
        """Build everything once. Video and contact sheet are made where there is an ``output`` folder for them.

        Raises what its parts raise for a bundle, a model or a configuration that does not fit.
        """
        bundle = runtime.bundle
        self.sim = FrankaSim(make_task(bundle.policy.task), SimConfig())
        self.runtime = runtime
        self.runtime.warm_up()
        observation = bundle.policy.observation
        sources = {name: Source(name, STREAM_TIMEOUT_S) for name in (observation.image_key, "joint_pos", "eef_pose", "gripper_width")}
        self.session = PolicySession(self.runtime, sources, replan_ticks)
        # No keep-alives are sent here: one promise spans a replanning period and more.
        self.guard = GuardCore(GuardConfig(max_next_within_s=1.0, max_observation_age_s=1.0))
        self.timeout_ns = int(timeout_s * NS_PER_S)
        self.period_ns = observation.period_ns
        self.results = RunResults(setup={"via": "process", "bundle": bundle.name, "steps": self.runtime.steps, "solver": self.runtime.solver})
        self.image_period_ns = int(NS_PER_S / camera_rate_hz)
        self.media = None if output is None else (EpisodeVideo(output / "episodes.mp4", camera_rate_hz / VIDEO_EVERY), ContactSheet())

    def run(self, seed: int) -> EpisodeResult:
        """One episode from ``seed`` to success, guard fault or the time limit."""
        self.sim.reset(seed)
        self.guard.disengage(self.sim.time_ns)
        self._measure()
        engaged, message = self.guard.engage(self.sim.time_ns)
        if not engaged:
            raise RuntimeError(f"seed {seed}: {message}")
        self.session.start(self.sim.time_ns)
        episode = _Episode(seed, self.sim.time_ns, self.sim.time_ns)
        ended = ""
        while not ended:
            self._look(episode)
            self._act()
            ended = self._ended(episode)
        self.session.stop()
        task = self.sim.task_state()
        if self.media is not None:
            self.media[1].end_episode(f"seed {seed}: {ended}", ended == "success")
        return EpisodeResult(seed, ended == "success", (self.sim.time_ns - episode.start_ns) / NS_PER_S, task.distance_m, ended)

    def _measure(self) -> None:
        """What the robot's topics would say now, to guard and policy."""
        state = self.sim.state()
        now_ns = state.stamp_ns
        self.guard.on_joints(now_ns, state.q_rad, state.dq_rad_s)
        self.guard.on_pose(now_ns, state.eef_position_m, state.eef_quat_xyzw)
        self.guard.on_gripper(now_ns, state.gripper_width_m)

    def _look(self, episode: _Episode) -> None:
        self._measure()
        state = self.sim.state()
        now_ns = state.stamp_ns
        samples: dict[str, npt.ArrayLike] = {
            "joint_pos": state.q_rad,
            "eef_pose": [*state.eef_position_m, *state.eef_quat_xyzw],
            "gripper_width": [state.gripper_width_m],
        }
        for stream, value in samples.items():
            self._answer(episode, self.session.add_sample(stream, now_ns, value, now_ns))
        if now_ns < episode.next_image_ns:
            return
        episode.next_image_ns += self.image_period_ns
        rgb = self.sim.render()
        self._answer(episode, self.session.add_image(now_ns, rgb, now_ns))
        if self.media is not None and episode.images % VIDEO_EVERY == 0:
            video, sheet = self.media
            video.add(rgb, f"seed {episode.seed}")
            sheet.add(rgb)
        episode.images += 1

    def _answer(self, episode: _Episode, answers: list[Answer]) -> None:
        for event in self.session.take_events():
            _log.warning("%s", event.text)
        for answer in answers:
            if answer.prediction is not None:
                self._send(episode, answer, answer.prediction)

    def _send(self, episode: _Episode, answer: Answer, prediction: ActionPrediction) -> None:
        self.results.inference_ms.append(prediction.encode_ms + prediction.sample_ms)
        episode.sequence += 1
        action = ActionData(
            source=ActionSource.POLICY,
            space=Space.EEF_POSE,
            frame_id=self.guard.config.base_frame,
            sequence=episode.sequence,
            observation_stamp_ns=answer.observation_stamp_ns,
            start_stamp_ns=answer.observation_stamp_ns + self.period_ns,
            dt_s=self.period_ns / NS_PER_S,
            rows=prediction.rows,
            next_within_s=self.guard.config.max_next_within_s,
            deadman=True,
        )
        self.guard.on_action(action, self.sim.time_ns)

    def _act(self) -> None:
        out = self.guard.tick(self.sim.time_ns)
        if out.send and out.position_m is not None and out.quat_xyzw is not None:
            self.sim.set_equilibrium_pose(out.position_m, out.quat_xyzw)
            if out.gripper_width_m is not None:
                self.sim.set_gripper(out.gripper_width_m)
        self.sim.step(TICK_S)

    def _ended(self, episode: _Episode) -> str:
        if self.sim.task_state().success:
            return "success"
        if self.guard.state is State.FAULT:
            return f"guard fault: {self.guard.tick(self.sim.time_ns).message}"
        return "timeout" if self.sim.time_ns - episode.start_ns > self.timeout_ns else ""


def evaluate_in_process(arguments: argparse.Namespace, out: Path) -> int:
    """`cdp eval --via process`: run the episodes, write results, video and contact sheet into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    asked = {"backend": arguments.backend, "steps": arguments.steps, "solver": arguments.solver, "temperature": arguments.temperature}
    loop = PolicyLoop(PolicyRuntime(Bundle.open(arguments.bundle), from_mapping(RuntimeConfig, asked)), out, arguments.timeout_s)
    loop.results.setup |= {"seed": arguments.seed, "temperature": arguments.temperature}
    try:
        for seed in tqdm(range(arguments.seed, arguments.seed + arguments.episodes), desc="episodes", unit="ep"):
            loop.results.episodes.append(loop.run(seed))
    finally:
        if loop.media is not None:
            video, sheet = loop.media[0].close(), loop.media[1].write(out / "contact_sheet.png")
            loop.results.files = {name: str(path) for name, path in (("video", video), ("contact sheet", sheet)) if path is not None}
        loop.results.write(out / "results.json")
        loop.sim.close()
    return 0


def run_episodes(runtime: PolicyRuntime, seeds: Sequence[int], timeout_s: float = 25.0, progress: Progress | None = None) -> list[dict[str, Any]]:
    """The episodes of scene ``seeds`` with any policy that a session can run, without pictures of them; fields of :class:`EpisodeResult`.

    The camera gives the pictures that the policy looks at and no others, which saves two thirds of the rendering. The noise of each episode
    begins anew from the runtime's seed. Found through the entry-point group ``cdp.rollouts``.
    """
    loop = PolicyLoop(runtime, None, timeout_s, camera_rate_hz=runtime.bundle.policy.observation.rate_hz)
    found = []
    try:
        for seed in seeds:
            found.append(dataclasses.asdict(loop.run(seed)))
            if progress is not None:
                progress(found[-1])
    finally:
        loop.sim.close()
    return found
