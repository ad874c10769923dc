"""Runs seeded episodes in the simulator: resets the scene, engages the guard, lets policy or scripted operator work, and keeps the score.

The simulator judges success; this node only asks for resets and writes down what /cdp_sim/task said.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from cdp_msgs.msg import ActionChunk, GuardStatus, PolicyStatus, TaskState
from cdp_msgs.srv import ResetScene, StartEpisode, StopEpisode
from cdp_ros.executor import make_executor
from cdp_ros.settle import settle
from cdp_ros.signals import stop_on_signals
from cdp_ros.stamps import stamp_to_ns
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.client import Client
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from cdp.data.images import decode_raw
from cdp_franka_sim.command_digest import CommandDigest
from cdp_franka_sim.episode_media import ContactSheet, EpisodeVideo
from cdp_franka_sim.episode_results import EpisodeResult, RunResults

PEER_DEADLINE_S = 60.0
SERVICE_DEADLINE_S = 20.0
# The simulator refuses a reset while commands still arrive; a disengaged guard falls silent within a few ticks.
RETRIES = 50
# A recorder takes no more episodes while it makes the files of several.
START_RETRIES = 300
VIDEO_EVERY = 3
# Lock-step runs as fast as it can: what this node has not read yet must not be overwritten.
COMMAND_DEPTH = 2000


class EpisodeError(RuntimeError):
    """The run cannot go on; the message says which peer failed and what to look at."""


class StoppedError(Exception):
    """SIGINT or SIGTERM asked for the end."""


class EpisodeRunner(Node):
    """Sequential script over services and topics; everything waits for a condition with a deadline."""

    def __init__(self, stop: threading.Event) -> None:
        """``stop`` ends the run wherever it is. Raises EpisodeError for a parameter that is refused."""
        super().__init__("cdp_episode_runner")
        self._stop_event = stop
        self.mode: str = self._declare("mode", "policy", "policy: run the policy node; record: keep the scripted operator's episodes")
        self.episodes: int = self._declare("episodes", 5, "episodes to run (policy) or to keep (record)", integer=(1, 100_000))
        self.seed: int = self._declare("seed", 100_000, "scene seed of the first episode; one more for each that follows", integer=(0, 2**53))
        self.timeout_s: float = self._declare("timeout_s", 25.0, "time limit of an episode, of the simulation [s]", number=(1.0, 600.0))
        self.output = Path(self._declare("output", "runs/slide", "folder for results.json, the video and the contact sheet"))
        self.task: str = self._declare("task", "slide", "task name, written into recorded episodes")
        if self.mode not in ("policy", "record"):
            raise EpisodeError(f"mode: {self.mode!r} is not one of 'policy', 'record'")
        self.executor_ = make_executor()
        self.executor_.add_node(self)
        self.results = RunResults(setup={"mode": self.mode, "seed": self.seed, "timeout_s": self.timeout_s, "lockstep": self._simulated_time()})
        self.video = EpisodeVideo(self.output / "episodes.mp4", 30.0 / VIDEO_EVERY)
        self.sheet = ContactSheet()
        self._task: TaskState | None = None
        self._guard: GuardStatus | None = None
        self._label = ""
        self._images = self._chunks = 0
        self._unanswered: list[tuple[int, int]] = []
        # In lock-step a policy's episode is the same each time, to the last bit of its commands.
        self._repeatable = self.mode == "policy" and self._simulated_time()
        self._digest = CommandDigest()
        self._connect()

    def _declare(self, name: str, default: Any, text: str, integer: tuple[int, int] | None = None, number: tuple[float, float] | None = None) -> Any:
        descriptor = ParameterDescriptor(description=text, read_only=True)
        if integer:
            descriptor.integer_range = [IntegerRange(from_value=integer[0], to_value=integer[1])]
        if number:
            descriptor.floating_point_range = [FloatingPointRange(from_value=number[0], to_value=number[1])]
        return self.declare_parameter(name, default, descriptor).value

    def _simulated_time(self) -> bool:
        return bool(self.get_parameter("use_sim_time").value)

    def _connect(self) -> None:
        latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(TaskState, "/cdp_sim/task", self._on_task, 30)
        self.create_subscription(GuardStatus, "/cdp/guard/status", self._on_guard, latched)
        self.create_subscription(Image, "/agentview/image_raw", self._on_image, best_effort)
        self._reset = self.create_client(ResetScene, "/cdp_sim/reset")
        self._engage = self.create_client(SetBool, "/cdp/guard/engage")
        if self.mode == "record":
            self._start = self.create_client(StartEpisode, "/cdp/recorder/start")
            self._stop = self.create_client(StopEpisode, "/cdp/recorder/stop")
            return
        self._change = self.create_client(ChangeState, "/cdp_policy/change_state")
        self._state = self.create_client(GetState, "/cdp_policy/get_state")
        self.create_subscription(ActionChunk, "/cdp/action/policy", self._on_chunk, 50)
        self.create_subscription(PolicyStatus, "/cdp/policy/status", self._on_policy, 20)
        self.create_subscription(PoseStamped, "/cartesian_impedance_example_controller/equilibrium_pose", self._on_command, COMMAND_DEPTH)
        self.create_subscription(JointTrajectory, "/fr3_arm_controller/joint_trajectory", self._on_command, COMMAND_DEPTH)

    # What the topics say

    def _on_task(self, message: TaskState) -> None:
        # Sent with each image, and reliably: its stamps tell the camera's rate even where this node loses an image.
        if self._label and self._task is not None:
            gap_ns = stamp_to_ns(message.header.stamp) - stamp_to_ns(self._task.header.stamp)
            # While time stands still before an episode its first instant is told again and again.
            if gap_ns > 0:
                self.results.image_gaps_ms.append(gap_ns / 1e6)
        self._task = message

    def _on_guard(self, message: GuardStatus) -> None:
        self._guard = message

    def _on_image(self, message: Image) -> None:
        self._images += 1
        if self._label and self._images % VIDEO_EVERY == 0:
            rgb = decode_raw(message.data, message.height, message.width, message.step, message.encoding)
            self.video.add(rgb, self._label)
            self.sheet.add(rgb)

    def _on_chunk(self, message: ActionChunk) -> None:
        if message.horizon > 0 and self._label:
            self._unanswered.append((stamp_to_ns(message.header.stamp), stamp_to_ns(message.observation_stamp)))

    def _on_policy(self, message: PolicyStatus) -> None:
        # The status is repeated between chunks: each chunk counts once.
        if self._label and message.state == PolicyStatus.STATE_RUNNING and message.chunks != self._chunks:
            self.results.inference_ms.append(message.inference_ms)
        self._chunks = message.chunks

    def _on_command(self, message: PoseStamped | JointTrajectory) -> None:
        """The first command at or after a chunk's sending is the first that can follow it: its stamp less the image's is the latency."""
        stamp_ns = stamp_to_ns(message.header.stamp)
        self._digest.add(stamp_ns, message)
        answered = [o for sent, o in self._unanswered if sent <= stamp_ns]
        # In lock-step simulated time stands still while nodes compute: the difference would say nothing.
        if not self._simulated_time():
            self.results.observation_to_command_ms.extend((stamp_ns - o) / 1e6 for o in answered)
        self._unanswered = [(sent, o) for sent, o in self._unanswered if sent > stamp_ns]

    # Waiting

    def _spin(self) -> None:
        if self._stop_event.is_set():
            raise StoppedError
        self.executor_.spin_once(timeout_sec=0.05)

    def _until(self, condition: Callable[[], bool], deadline_s: float, what: str) -> None:
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                raise EpisodeError(f"waited {deadline_s:.0f} s for {what}; see the messages of that node above")
            self._spin()

    def _call(self, client: Client, request: Any) -> Any:
        self._until(client.service_is_ready, PEER_DEADLINE_S, f"the service {client.srv_name}")
        future = client.call_async(request)
        self._until(future.done, SERVICE_DEADLINE_S, f"an answer of {client.srv_name}")
        return future.result()

    # The script

    def run(self) -> None:
        """Run all episodes; raises EpisodeError when a peer fails. What was finished stays in ``results``."""
        settle(self)
        self.output.mkdir(parents=True, exist_ok=True)
        self._until(lambda: self._task is not None, PEER_DEADLINE_S, "the simulator's /cdp_sim/task")
        self._until(lambda: self._guard is not None, PEER_DEADLINE_S, "the guard's /cdp/guard/status")
        seed, tries = self.seed, 0
        while sum(e.success for e in self.results.episodes) < self.episodes if self.mode == "record" else tries < self.episodes:
            # A scripted operator that keeps failing is a fault, not something to outwait.
            if self.mode == "record" and tries >= 2 * self.episodes + 3:
                raise EpisodeError(f"only {self.results.successes} of {tries} scripted episodes succeeded")
            result = self._episode(seed)
            self.results.episodes.append(result)
            tries += 1
            distance_mm = 1000 * result.distance_m
            self.get_logger().info(f"episode {tries}, seed {seed}: {result.ended} after {result.duration_s:.1f} s, {distance_mm:.0f} mm off")
            seed += 1

    def _episode(self, seed: int) -> EpisodeResult:
        start_ns = self._prepare(seed)
        self._label = f"seed {seed}"
        self._digest.begin(start_ns)
        self._engaged(True)
        try:
            ended = self._watch(start_ns)
        finally:
            self._label = ""
        task = self._task
        assert task is not None
        end_ns = stamp_to_ns(task.header.stamp)
        commands = self._commands_until(end_ns) if self._repeatable else ""
        success = ended == "success"
        recording = self._finish_recording(success) if self.mode == "record" else ""
        self._engaged(False)
        self.sheet.end_episode(f"seed {seed}: {ended}", success)
        self._unanswered.clear()
        return EpisodeResult(seed, success, (end_ns - start_ns) / 1e9, task.distance_m, ended, recording, commands)

    def _commands_until(self, end_ns: int) -> str:
        self._until(lambda: self._digest.newest_ns >= end_ns, SERVICE_DEADLINE_S, "the guard's commands up to the episode's end")
        return self._digest.until(end_ns)

    def _prepare(self, seed: int) -> int:
        if self.mode == "policy":
            self._policy_inactive()
        self._engaged(False)
        for _ in range(RETRIES):
            answer = self._call(self._reset, ResetScene.Request(seed=seed, hold=self._repeatable))
            if answer.success:
                break
            self._pause(0.1)
        else:
            raise EpisodeError(f"the simulator refused to reset: {answer.message}")
        start_ns = stamp_to_ns(answer.stamp)
        self._until(lambda: self._seen_since(start_ns), SERVICE_DEADLINE_S, "the task state of the new scene")
        if self.mode == "policy":
            self._transition(Transition.TRANSITION_ACTIVATE, "activate")
        else:
            self._start_recording(seed)
        return start_ns

    def _start_recording(self, seed: int) -> None:
        # A recorder that has only just come up has not heard every stream yet, and says so.
        for _ in range(START_RETRIES):
            answer = self._call(self._start, StartEpisode.Request(task=self.task, operator_name="scripted", seed=seed))
            if answer.success:
                return
            self._pause(0.1)
        raise EpisodeError(f"the recorder did not start: {answer.message}")

    def _seen_since(self, start_ns: int) -> bool:
        return self._task is not None and stamp_to_ns(self._task.header.stamp) >= start_ns

    def _pause(self, duration_s: float) -> None:
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            self._spin()

    def _watch(self, start_ns: int) -> str:
        """Wait for the end of the episode: success, a guard fault, or the time limit."""
        end_ns = start_ns + int(self.timeout_s * 1e9)
        last_seen, last_wall = 0, time.monotonic()
        while True:
            self._spin()
            task, guard = self._task, self._guard
            assert task is not None and guard is not None
            stamp_ns = stamp_to_ns(task.header.stamp)
            if stamp_ns != last_seen:
                last_seen, last_wall = stamp_ns, time.monotonic()
            elif time.monotonic() - last_wall > PEER_DEADLINE_S:
                raise EpisodeError(f"the simulator has been silent for {PEER_DEADLINE_S:.0f} s")
            if task.success:
                return "success"
            if guard.state == GuardStatus.STATE_FAULT:
                return f"guard fault: {guard.message}"
            if stamp_ns > end_ns:
                return "timeout"

    def _engaged(self, engage: bool) -> None:
        # The guard refuses to engage without a fresh state; right after a reset that state may still be on its way.
        for _ in range(10):
            answer = self._call(self._engage, SetBool.Request(data=engage))
            if answer.success or not engage:
                return
            self._pause(0.1)
        raise EpisodeError(f"the guard did not engage: {answer.message}")

    def _finish_recording(self, success: bool) -> str:
        answer = self._call(self._stop, StopEpisode.Request(keep=success, task_success=success, note="scripted operator"))
        if not answer.success:
            self.get_logger().warning(f"the recorder did not keep the episode: {answer.message}")
        return str(answer.path)

    def _policy_inactive(self) -> None:
        state = self._call(self._state, GetState.Request()).current_state.id
        if state == State.PRIMARY_STATE_UNCONFIGURED:
            self._transition(Transition.TRANSITION_CONFIGURE, "configure")
        elif state == State.PRIMARY_STATE_ACTIVE:
            self._transition(Transition.TRANSITION_DEACTIVATE, "deactivate")

    def _transition(self, transition: int, name: str) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        if not self._call(self._change, request).success:
            raise EpisodeError(f"the policy node could not {name}; its error above says why")

    def finish(self) -> None:
        """Write results, video and contact sheet of the episodes that were finished."""
        video, sheet = self.video.close(), self.sheet.write(self.output / "contact_sheet.png")
        self.results.files = {name: str(path) for name, path in (("video", video), ("contact sheet", sheet)) if path is not None}
        self.results.write(self.output / "results.json")


def main() -> int:
    """Run the node; 0 when every episode was run, 1 when a peer failed, 0 after a signal."""
    with stop_on_signals() as stop:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        runner: EpisodeRunner | None = None
        status = 0
        try:
            runner = EpisodeRunner(stop)
            runner.run()
        except EpisodeError as error:
            get_logger("cdp_episode_runner").error(str(error))
            status = 1
        except StoppedError:
            status = 0
        finally:
            if runner is not None:
                runner.finish()
                runner.executor_.shutdown()
                runner.destroy_node()
            rclpy.shutdown()
    return status


if __name__ == "__main__":
    sys.exit(main())
