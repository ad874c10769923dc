"""The whole stack in real time while its recorder records: the second part of benchmarks/serving.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORDER = "from cdp_teleop_recorder.recorder_node import main; raise SystemExit(main())"
DEADLINE_S = 60.0


class Recording:
    """One episode of a recorder that runs in ``domain``."""

    def __init__(self, domain: int) -> None:
        import rclpy
        from cdp_msgs.srv import StartEpisode, StopEpisode
        from rclpy.executors import SingleThreadedExecutor

        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        node = rclpy.create_node("bench_serving", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self._start, self._stop = node.create_client(StartEpisode, "/cdp/recorder/start"), node.create_client(StopEpisode, "/cdp/recorder/stop")

    def begin(self, stack: subprocess.Popen[bytes]) -> str:
        """Start it as soon as every stream is heard; what hinders it where ``stack`` ends or time runs out before, else nothing."""
        end_s, told = time.monotonic() + DEADLINE_S, "no recorder"
        while stack.poll() is None and time.monotonic() < end_s:
            answer = self._call(self._start, task="slide", operator_name="benchmark", seed=-1)
            if answer is not None and answer.success:
                return ""
            told = told if answer is None else answer.message
        return told

    def end(self) -> int:
        """Stop it; how many pictures it has."""
        answer = self._call(self._stop, keep=True, task_success=True, note="")
        return 0 if answer is None else int(answer.frames)

    def close(self) -> None:
        """Leave the domain."""
        self._context.try_shutdown()

    def _call(self, client: Any, **fields: Any) -> Any | None:
        """The answer of a service; None where there is none in time."""
        # Waiting also keeps the question from being asked all the time.
        for _ in range(5):
            self._executor.spin_once(timeout_sec=0.1)
        if not client.service_is_ready():
            return None
        future = client.call_async(client.srv_type.Request(**fields))
        self._executor.spin_until_future_complete(future, timeout_sec=DEADLINE_S)
        return future.result() if future.done() else None


def loop(episodes: int, steps: int, output: Path) -> str | None:
    """Run simulator, camera, guard, policy and recorder; the line of figures, None, and why, where one failed."""
    from cdp_ros.domain import own_domain

    domain = own_domain()
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    parameters = ["--ros-args", "--params-file", str(ROOT / "config/recorder.yaml"), "-p", f"directory:={output / 'episodes'}"]
    recorder = subprocess.Popen([sys.executable, "-c", RECORDER, *parameters], env=environment)
    words = ["eval", str(ROOT / "models/slide"), "--episodes", str(episodes), "--seed", "100000", "--steps", str(steps), "--out", str(output)]
    stack = subprocess.Popen(["cdp", *words], env=environment)
    recording = Recording(domain)
    try:
        hindered = recording.begin(stack)
        status = stack.wait()
        pictures = 0 if hindered else recording.end()
    finally:
        recording.close()
        for process in (stack, recorder):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(DEADLINE_S)
    if hindered or pictures == 0:
        sys.stdout.write(f"nothing was recorded: {hindered or 'the recorder has no picture'}\n")
        return None
    if status != 0:
        return None
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    latency = results["observation_to_command_ms"]
    slow = f", p99 {latency['p99']:.1f} ms" if latency["count"] >= 100 else ""
    spread = f"p50 {latency['p50']:.1f} ms{slow} over {latency['count']} chunks"
    camera = f"camera {results['camera']['rate_hz']:.1f} Hz, {pictures} pictures recorded meanwhile"
    return f"camera stamp to command: {spread}; {camera}; of LeRobot there is no such figure, it is timed from the resized image to the chunk"
