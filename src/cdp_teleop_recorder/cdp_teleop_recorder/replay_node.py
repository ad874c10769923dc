"""Replays a demonstration through the guard, in the policy's place, so that an operator's deadman still takes over; then says how it went."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from cdp_msgs.msg import ActionChunk, GuardStatus, TaskState
from cdp_msgs.srv import ResetScene
from cdp_ros.call import UNANSWERED_S, Call
from cdp_ros.parameters import declare, read
from cdp_ros.settle import settle
from cdp_ros.signals import stop_on_signals
from cdp_ros.stamps import ns_to_stamp, stamp_to_ns
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import SetBool

from cdp.actions import eef_row
from cdp.config import ConfigError
from cdp.data.demos import DataError
from cdp.data.spec import NS_PER_S
from cdp_teleop_recorder.replay_core import ReplayConfig, approach, load_recording, step_at, tracking

PEER_DEADLINE_S = 60.0
# Someone who engages the guard by hand wants to look at the arm first.
HAND_DEADLINE_S = 600.0
RETRIES = 50
BASE_FRAME = "fr3_link0"


class ReplayError(RuntimeError):
    """The replay cannot go on; the message says what failed and what to look at."""


class StoppedError(Exception):
    """SIGINT or SIGTERM asked for the end."""


class ReplayNode(Node):
    """A script over services, and a timer that sends one row a period as teleoperation does."""

    def __init__(self, stop: threading.Event) -> None:
        """Raises ConfigError or DataError for a parameter or a file that is refused."""
        super().__init__("cdp_replay")
        declare(self, ReplayConfig)
        self.config = read(self, ReplayConfig)
        self.recording = load_recording(self.config.file, self.config.demo)
        self._stop = stop
        self._period_s = 1.0 / self.recording.rate_hz
        self._rows = np.empty((0, 10))
        self._begin_ns, self._sequence, self._sent = 0, 0, -1
        self._lead = 0
        self._guard: GuardStatus | None = None
        self._task: TaskState | None = None
        self._succeeded = False
        self._measured: list[tuple[int, list[float]]] = []
        self.executor_ = SingleThreadedExecutor()
        self.executor_.add_node(self)
        self._connect()

    def _connect(self) -> None:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        pose = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._actions = self.create_publisher(ActionChunk, "/cdp/action/policy", QoSProfile(depth=10))
        self.create_subscription(GuardStatus, "/cdp/guard/status", self._on_guard, latched)
        self.create_subscription(PoseStamped, "/franka_robot_state_broadcaster/current_pose", self._on_pose, pose)
        self.create_subscription(TaskState, "/cdp_sim/task", self._on_task, 30)
        self._engage = self.create_client(SetBool, "/cdp/guard/engage")
        self._reset = self.create_client(ResetScene, "/cdp_sim/reset")
        self._timer = self.create_timer(self._period_s, self._on_timer)

    def _on_guard(self, message: GuardStatus) -> None:
        self._guard = message

    def _on_task(self, message: TaskState) -> None:
        self._task = message
        self._succeeded |= bool(message.success and len(self._rows) > 0)

    def _on_pose(self, message: PoseStamped) -> None:
        p, q = message.pose.position, message.pose.orientation
        self._measured.append((stamp_to_ns(message.header.stamp), [p.x, p.y, p.z, q.x, q.y, q.z, q.w]))

    def _on_timer(self) -> None:
        if not len(self._rows):
            return
        until_next_ns = self._timer.time_until_next_call()
        due_ns = int(self.get_clock().now().nanoseconds) + int(until_next_ns or 0) - round(self._period_s * NS_PER_S)
        if not self._begin_ns:
            self._begin_ns = due_ns
        index = step_at(due_ns, self._begin_ns, self._period_s)
        self._sent = index
        message = ActionChunk(source=ActionChunk.SOURCE_POLICY, space=ActionChunk.SPACE_EEF_POSE, sequence=self._sequence, deadman=True)
        self._sequence += 1
        message.header.frame_id = BASE_FRAME
        message.header.stamp = message.observation_stamp = ns_to_stamp(due_ns)
        message.start_stamp = ns_to_stamp(due_ns + round(self._period_s * NS_PER_S))
        message.dt_s = message.next_within_s = self._period_s
        message.horizon, message.width = 1, self._rows.shape[1]
        message.actions = self._rows[min(index, len(self._rows) - 1)].astype("float32").tolist()
        self._actions.publish(message)

    # Waiting

    def _until(self, condition: Callable[[], bool], deadline_s: float, what: str) -> None:
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                raise ReplayError(f"waited {deadline_s:.0f} s for {what}; see the messages of that node above")
            if self._stop.is_set():
                raise StoppedError
            self.executor_.spin_once(timeout_sec=0.02)

    def _call(self, client: Any, request: Any) -> Any:
        self._until(client.service_is_ready, PEER_DEADLINE_S, f"the service {client.srv_name}")
        call = Call(client, request, UNANSWERED_S if client is self._engage else None)
        self._until(call.done, PEER_DEADLINE_S, f"an answer of {client.srv_name}")
        return call.result()

    def _retried(self, client: Any, request: Any, what: str) -> Any:
        for _ in range(RETRIES):
            answer = self._call(client, request)
            if answer.success:
                return answer
            again = time.monotonic() + 0.1
            self._until(lambda end=again: time.monotonic() > end, 1.0, what)  # type: ignore[misc]
        raise ReplayError(f"{what}: {answer.message}")

    # The script

    def run(self) -> dict[str, Any]:
        """Replay and return the figures. Raises ReplayError."""
        settle(self)
        self._until(lambda: self._guard is not None, PEER_DEADLINE_S, "the guard's /cdp/guard/status")
        if self.config.reset:
            self._reset_scene()
        if self.config.engage:
            self._retried(self._engage, SetBool.Request(data=True), "the guard did not engage")
        self._until(lambda: self._state() != GuardStatus.STATE_REFUSING, HAND_DEADLINE_S, "the guard to be engaged")
        self._until(lambda: bool(self._measured), PEER_DEADLINE_S, "the measured pose")
        guard = self._guard
        assert guard is not None
        p, q = guard.target.position, guard.target.orientation
        here = eef_row([p.x, p.y, p.z], [q.x, q.y, q.z, q.w], guard.target_gripper_width_m)
        first = self.recording.rows[0]
        way = approach(here, first, self._period_s, self.config.approach_speed_m_s, self.config.approach_turn_rad_s)
        # A scene that was put back has the arm where the demonstration began: no way to go but its own first step.
        self._lead = 0 if self.config.reset else len(way)
        self._measured.clear()
        self._succeeded = False
        self._rows = self.recording.rows if self.config.reset else np.concatenate([way, self.recording.rows])
        last = len(self._rows) + int(np.ceil(self.config.settle_s / self._period_s))
        seconds = last * self._period_s
        self._until(lambda: self._sent >= last or self._state() == GuardStatus.STATE_FAULT, PEER_DEADLINE_S + 20.0 * seconds, "the end of the replay")
        return self._figures()

    def _state(self) -> int:
        return int(self._guard.state) if self._guard is not None else int(GuardStatus.STATE_REFUSING)

    def _reset_scene(self) -> None:
        if self.recording.seed is None:
            raise ReplayError(f"{self.recording.name} does not say its scene's seed: replay with reset:=false")
        self._call(self._engage, SetBool.Request(data=False))
        start_ns = stamp_to_ns(self._retried(self._reset, ResetScene.Request(seed=self.recording.seed), "the simulator refused to reset").stamp)
        fresh = lambda: self._task is not None and stamp_to_ns(self._task.header.stamp) >= start_ns  # noqa: E731
        self._until(fresh, PEER_DEADLINE_S, "the task state of the new scene")

    def _figures(self) -> dict[str, Any]:
        guard = self._guard
        assert guard is not None
        fault = guard.message if guard.state == GuardStatus.STATE_FAULT else None
        begin_ns = self._begin_ns + round(self._lead * self._period_s * NS_PER_S)
        self._rows = np.empty((0, 10))
        if self.config.engage:
            self._call(self._engage, SetBool.Request(data=False))
        order = sorted(self._measured)
        stamps = np.asarray([stamp for stamp, _ in order], dtype=np.int64)
        poses = np.asarray([pose for _, pose in order]).reshape(-1, 7)
        return {
            "format": "cdp-replay-1",
            "file": self.config.file,
            "demo": self.recording.name,
            "seed": self.recording.seed,
            "rows": len(self.recording.rows),
            "approach_rows": self._lead,
            "success": None if self._task is None else self._succeeded,
            "distance_m": None if self._task is None else float(self._task.distance_m),
            "limited_ticks": int(guard.limited_ticks),
            "rejected_actions": int(guard.rejected_actions),
            "fault": fault,
            **tracking(self.recording, begin_ns, stamps, poses),
        }


def main() -> int:
    """Run the node; 0 when the demonstration was replayed without a fault, 1 when not, 2 for a refused parameter or file, 0 after a signal."""
    with stop_on_signals() as stop:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        node: ReplayNode | None = None
        try:
            node = ReplayNode(stop)
            figures = node.run()
            out = Path(node.config.output)
            out.mkdir(parents=True, exist_ok=True)
            (out / "results.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
            return 0 if figures["fault"] is None else 1
        except (ConfigError, DataError) as error:
            sys.stderr.write(f"cdp_replay does not start: {error}\n")
            return 2
        except ReplayError as error:
            get_logger("cdp_replay").error(str(error))
            return 1
        except StoppedError:
            return 0
        finally:
            if node is not None:
                node.executor_.shutdown()
                node.destroy_node()
            rclpy.shutdown()


if __name__ == "__main__":
    sys.exit(main())
