"""Runs seeded episodes in the simulator: resets the scene, engages the guard, lets policy or scripted operator work, and keeps the score.

The simulator judges success; this node only asks for resets and writes down what /cdp_sim/task said.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import rclpy
from cdp_msgs.msg import GuardStatus
from cdp_ros.settle import settle
from cdp_ros.signals import stop_on_signals
from cdp_ros.stamps import stamp_to_ns
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from cdp_franka_sim.episode_ear import EpisodeEar
from cdp_franka_sim.episode_peers import PEER_DEADLINE_S, SERVICE_DEADLINE_S, EpisodeError, Peers, StoppedError
from cdp_franka_sim.episode_results import EpisodeResult, RunResults


class EpisodeRunner(Node):
    """Sequential script over services and topics; everything waits for a condition with a deadline."""

    def __init__(self, stop: threading.Event) -> None:
        """``stop`` ends the run wherever it is. Raises EpisodeError for a parameter that is refused."""
        super().__init__("cdp_episode_runner")
        self.mode: str = self._declare("mode", "policy", "policy: run the policy node; record: keep the scripted operator's episodes")
        self.episodes: int = self._declare("episodes", 5, "episodes to run (policy) or to keep (record)", integer=(1, 100_000))
        self.seed: int = self._declare("seed", 100_000, "scene seed of the first episode; one more for each that follows", integer=(0, 2**53))
        self.timeout_s: float = self._declare("timeout_s", 25.0, "time limit of an episode, of the simulation [s]", number=(1.0, 600.0))
        self.output = Path(self._declare("output", "runs/slide", "folder for results.json, the video and the contact sheet"))
        self.task: str = self._declare("task", "slide", "task name, written into recorded episodes")
        if self.mode not in ("policy", "record"):
            raise EpisodeError(f"mode: {self.mode!r} is not one of 'policy', 'record'")
        self.results = RunResults(setup={"mode": self.mode, "seed": self.seed, "timeout_s": self.timeout_s, "lockstep": self._simulated_time()})
        # In lock-step a policy's episode is the same each time, to the last bit of its commands.
        self._repeatable = self.mode == "policy" and self._simulated_time()
        self._peers = Peers(self, self.mode == "record", stop)
        self._moving = False
        self._ear = EpisodeEar(self, self.results, self.output, self.mode == "policy", self._simulated_time())

    def _declare(self, name: str, default: Any, text: str, integer: tuple[int, int] | None = None, number: tuple[float, float] | None = None) -> Any:
        descriptor = ParameterDescriptor(description=text, read_only=True)
        if integer:
            descriptor.integer_range = [IntegerRange(from_value=integer[0], to_value=integer[1])]
        if number:
            descriptor.floating_point_range = [FloatingPointRange(from_value=number[0], to_value=number[1])]
        return self.declare_parameter(name, default, descriptor).value

    def _simulated_time(self) -> bool:
        return bool(self.get_parameter("use_sim_time").value)

    def run(self) -> None:
        """Run all episodes; raises EpisodeError when a peer fails. What was finished stays in ``results``."""
        settle(self)
        self.output.mkdir(parents=True, exist_ok=True)
        self._peers.until(lambda: self._ear.task is not None, PEER_DEADLINE_S, "the simulator's /cdp_sim/task")
        self._peers.until(lambda: self._ear.guard is not None, PEER_DEADLINE_S, "the guard's /cdp/guard/status")
        seed, tries = self.seed, 0
        while sum(e.success for e in self.results.episodes) < self.episodes if self.mode == "record" else tries < self.episodes:
            # A scripted operator that keeps failing is a fault, not something to outwait.
            if self.mode == "record" and tries >= 2 * self.episodes + 3:
                raise EpisodeError(f"only {self.results.successes} of {tries} scripted episodes succeeded")
            result = self._episode(seed)
            tries += 1
            distance_mm = 1000 * result.distance_m
            self.get_logger().info(f"episode {tries}, seed {seed}: {result.ended} after {result.duration_s:.1f} s, {distance_mm:.0f} mm off")
            seed += 1

    def _episode(self, seed: int) -> EpisodeResult:
        start_ns = self._prepare(seed)
        self._moving = True
        self._ear.label = f"seed {seed}"
        self._ear.digest.begin(start_ns)
        self._peers.engaged(True)
        try:
            self._begin_policy(start_ns)
            ended = self._watch(start_ns)
        finally:
            self._ear.label = ""
        task = self._ear.task
        assert task is not None
        end_ns = stamp_to_ns(task.header.stamp)
        commands = self._commands_until(end_ns) if self._repeatable else ""
        success = ended == "success"
        recording = self._peers.finish_recording(success) if self.mode == "record" else ""
        result = EpisodeResult(seed, success, (end_ns - start_ns) / 1e9, task.distance_m, ended, recording, commands)
        # An episode that was run is kept, whatever its peers answer from here on.
        self.results.episodes.append(result)
        self._ear.sheet.end_episode(f"seed {seed}: {ended}", success)
        self._peers.engaged(False)
        self._ear.forget()
        return result

    def _commands_until(self, end_ns: int) -> str:
        self._peers.until(lambda: self._ear.digest.newest_ns >= end_ns, SERVICE_DEADLINE_S, "the guard's commands up to the episode's end")
        return self._ear.digest.until(end_ns)

    def _prepare(self, seed: int) -> int:
        if self.mode == "policy":
            self._peers.policy_inactive()
        self._peers.engaged(False)
        start_ns = self._peers.reset(seed, hold=self._repeatable)
        self._peers.until(lambda: self._ear.seen_since(start_ns), SERVICE_DEADLINE_S, "the task state of the new scene")
        if self.mode == "record":
            self._peers.start_recording(self.task, seed)
        return start_ns

    def _begin_policy(self, start_ns: int) -> None:
        """In lock-step time stands still until the policy is followed: by then this node hears every command, or the digest would lack the first."""
        if self._repeatable:
            self._peers.until(lambda: self._ear.digest.newest_ns >= start_ns, SERVICE_DEADLINE_S, "the guard's first command")
        if self.mode == "policy":
            self._peers.policy_active()

    def _watch(self, start_ns: int) -> str:
        """Wait for the end of the episode: success, a guard fault, or the time limit."""
        end_ns = start_ns + int(self.timeout_s * 1e9)
        last_seen, last_wall = 0, time.monotonic()
        while True:
            self._peers.spin()
            task, guard = self._ear.task, self._ear.guard
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

    def finish(self) -> None:
        """Stop what could move the arm; write results, video and contact sheet of the episodes that were finished."""
        if self._moving:
            # Left active, the policy would move it as soon as anybody engages the guard again.
            self._peers.release()
        video, sheet = self._ear.video.close(), self._ear.sheet.write(self.output / "contact_sheet.png")
        self.results.files = {name: str(path) for name, path in (("video", video), ("contact sheet", sheet)) if path is not None}
        self.results.write(self.output / "results.json")
        self._peers.close()


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
                runner.destroy_node()
            rclpy.shutdown()
    return status


if __name__ == "__main__":
    sys.exit(main())
