"""What the policy node says of itself: its status and its diagnostics."""

from __future__ import annotations

from collections import deque

from cdp_msgs.msg import PolicyStatus
from cdp_ros.stamps import ns_to_stamp
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from cdp.runtime.session import Answer, PolicySession, Schedule
from cdp.statistics import percentiles
from cdp_policy_node.policy_messages import STATUS_OF_STATE
from cdp_policy_node.policy_monitor import PolicyMonitor, diagnostic_values, fill_status

LATENCIES_KEPT = 256
_LEVELS = {PolicyStatus.STATE_WAITING: DiagnosticStatus.WARN, PolicyStatus.STATE_FAULT: DiagnosticStatus.ERROR}


class PolicyReport:
    """Publishes the state of a session, or that there is none, with the latencies of this activation."""

    def __init__(self, node: Node) -> None:
        self._clock = node.get_clock()
        self._status = node.create_publisher(PolicyStatus, "/cdp/policy/status", 20)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._inference_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._latency_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._observation_ns = 0

    def begin(self) -> None:
        """A new activation: no latencies yet."""
        self._observation_ns = 0
        self._inference_ms.clear()
        self._latency_ms.clear()

    def count(self, answer: Answer) -> None:
        """Note what was sent."""
        self._observation_ns = answer.observation_stamp_ns
        if answer.chunk is not None:
            self._inference_ms.append(answer.chunk.prediction.sample_ms)
            self._latency_ms.append(answer.chunk.delay_ns / 1e6)

    def publish_status(self, session: PolicySession | None, message: str, monitor: PolicyMonitor | None) -> None:
        """Send the status."""
        status = PolicyStatus(
            state=_state(session),
            message=message,
            observation_stamp=ns_to_stamp(self._observation_ns),
            inference_ms=self._inference_ms[-1] if self._inference_ms else 0.0,
            observation_to_action_ms=self._latency_ms[-1] if self._latency_ms else 0.0,
        )
        if session is not None:
            runtime, schedule = session.planner.runtime, session.schedule
            status.bundle, status.engine, status.join = runtime.bundle.name, runtime.engine, session.planner.join.join
            status.chunks, status.late_chunks, status.deadline_misses = schedule.chunks, schedule.late, schedule.deadline_misses
            status.delay_ms = session.delay_ns / 1e6
        fill_status(status, monitor)
        status.header.stamp = self._clock.now().to_msg()
        self._status.publish(status)

    def publish_diagnostics(self, session: PolicySession | None, message: str, monitor: PolicyMonitor | None) -> None:
        """Send the diagnostics."""
        schedule = Schedule() if session is None else session.schedule
        inference, latency = percentiles(self._inference_ms), percentiles(self._latency_ms)
        values = {
            "bundle": "" if session is None else session.planner.runtime.bundle.name,
            "engine": "" if session is None else session.planner.runtime.engine,
            "join": "" if session is None else session.planner.join.join,
            "chunks": str(schedule.chunks),
            "late_chunks": str(schedule.late),
            "expired_chunks": str(schedule.expired),
            "deadline_misses": str(schedule.deadline_misses),
            "replaced_windows": str(schedule.replaced),
            "delay_ms": f"{0.0 if session is None else session.delay_ns / 1e6:.2f}",
            "inference_ms_p50": f"{inference[0]:.2f}",
            "inference_ms_p99": f"{inference[1]:.2f}",
            "observation_to_action_ms_p50": f"{latency[0]:.2f}",
            "observation_to_action_ms_p99": f"{latency[1]:.2f}",
            **diagnostic_values(monitor),
        }
        status = DiagnosticStatus(
            level=_LEVELS.get(_state(session), DiagnosticStatus.OK),
            name="cdp_policy: policy",
            message=message,
            hardware_id=values["bundle"],
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._clock.now().to_msg()
        self._diagnostics.publish(array)


def _state(session: PolicySession | None) -> int:
    return int(PolicyStatus.STATE_UNCONFIGURED if session is None else STATUS_OF_STATE[session.state])
