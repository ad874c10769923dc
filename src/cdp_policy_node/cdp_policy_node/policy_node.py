"""The lifecycle node ``cdp_policy``: a bundle behind the robot's topics.

configure opens and warms the bundle, activate begins an episode with an empty window, deactivate stops sending, cleanup forgets the bundle. The
networks run in a thread of their own, which hands each chunk back to the executor; observations never wait for it, but in lock-step::

    ros2 run cdp_policy_node policy_node --ros-args -p bundle:=slide -p autostart:=true
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from cdp_msgs.msg import ActionChunk, GuardStatus, PolicyStatus
from cdp_ros.main import run_node
from cdp_ros.parameters import declare, read
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from cdp.bundle import Bundle, BundleError
from cdp.bundle.manifest import SPACE_EEF_POSE
from cdp.config import ConfigError, from_mapping, to_mapping
from cdp.data.spec import LOWDIM_SOURCES
from cdp.runtime import InferenceError, PolicyRuntime
from cdp.runtime.frozen import FrozenCamera
from cdp.runtime.planner import Planner
from cdp.runtime.session import Answer, Level, PolicySession, State
from cdp.runtime.worker import ThreadWorker
from cdp_policy_node.policy_inputs import IMAGE_KEY, PolicyInputs, sources
from cdp_policy_node.policy_messages import action_chunk
from cdp_policy_node.policy_monitor import MONITOR_PARAMETERS, MonitorParameters, PolicyMonitor, open_monitor
from cdp_policy_node.policy_parameters import LIVE_PARAMETERS, PolicyParameters, find_bundle, fixed_among
from cdp_policy_node.policy_report import PolicyReport
from cdp_policy_node.run_policy import RunAction

PACKAGE = "cdp_policy_node"
CHECK_PERIOD_S = 0.05
STATUS_PERIOD_S = 1.0


class PolicyNode(LifecycleNode):
    """ROS around :class:`PolicySession`: parameters, topics, transitions, status and diagnostics."""

    def __init__(self) -> None:
        super().__init__("cdp_policy")
        # A bundle or a sampler may be changed while unconfigured; configuring reads and checks anew.
        declare(self, PolicyParameters, read_only=False)
        declare(self, MonitorParameters, read_only=False)
        self._settings = PolicyParameters()
        self._session: PolicySession | None = None
        self._bundle: Bundle | None = None
        self._monitor: PolicyMonitor | None = None
        self._inputs: PolicyInputs | None = None
        self._guard: Any = None
        self._message = "not configured"
        self._sequence = 0
        self._action = self.create_publisher(ActionChunk, "/cdp/action/policy", 20)
        self._report = PolicyReport(self)
        self._run = RunAction(self, self._status, self._task, lambda: self._settings.run_lost_s)
        # By the machine's clock: a simulation that stands still must still be told apart from a dead node.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._check_timer = self.create_timer(CHECK_PERIOD_S, self._check, clock=steady)
        self._status_timer = self.create_timer(STATUS_PERIOD_S, self._tell, clock=steady)
        self.add_on_set_parameters_callback(self._on_parameters)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open, verify and warm the bundle; a mismatch fails the transition and is said in one line."""
        try:
            self._settings = read(self, PolicyParameters)
            self._configure(read(self, MonitorParameters))
        except (BundleError, ConfigError, InferenceError) as error:
            self._release()
            self._message = str(error)
            self.get_logger().error(self._message)
            self._publish_status()
            return TransitionCallbackReturn.FAILURE
        self._publish_status()
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin an episode."""
        if self._session is None:
            return TransitionCallbackReturn.FAILURE
        self._report.begin()
        if self._monitor is not None:
            self._monitor.restart()
        self._session.withhold("")
        self._session.start(self._now_ns(), self._run.seed)
        self._after_session()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop sending, and wait for the chunk under way; the guard holds the robot."""
        if self._session is not None:
            self._session.stop()
            self._after_session()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the bundle."""
        self._release()
        self._message = "not configured"
        self._publish_status()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop for good."""
        self._release()
        self._message = "shut down"
        self._publish_status()
        return TransitionCallbackReturn.SUCCESS

    def _configure(self, monitoring: MonitorParameters) -> None:
        p = self._settings
        bundle = Bundle.open(find_bundle(p.bundle, Path(get_package_share_directory(PACKAGE)) / "models"))
        bundle.require(task=p.task or None, space=SPACE_EEF_POSE, observation_keys=(IMAGE_KEY, *LOWDIM_SOURCES))
        runtime = PolicyRuntime(bundle, p.runtime())
        chunk_ms = runtime.warm_up()
        worker = partial(ThreadWorker, notify=self._wake, wait=p.lockstep)
        frozen = FrozenCamera(p.frozen_after_m, p.frozen_after_rad)
        self._session = PolicySession(runtime, sources(p), p.replan_ticks, planner=Planner(runtime, p.joining()), worker=worker, frozen=frozen)
        self._bundle = bundle
        if monitoring.monitor:
            self._monitor, line = open_monitor(bundle, p.runtime(), monitoring)
            self.get_logger().info(line)
        self._inputs = PolicyInputs(self, p, self._session, self._now_ns, self._send, self._after_session)
        if not p.lockstep:
            # What the guard says comes at no fixed place between the observations: in lock-step runs would differ.
            latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._guard = self.create_subscription(GuardStatus, p.guard_topic, self._on_guard, latched)
        self._message = self._session.message
        sampler = f"{runtime.solver} {runtime.steps} steps, {runtime.engine}, join {p.join}"
        self.get_logger().info(f"bundle {bundle.name} for task {bundle.policy.task} is ready: {sampler}, {chunk_ms:.1f} ms a chunk")
        period_ms = p.replan_ticks * bundle.policy.observation.period_ns / 1e6
        if chunk_ms > period_ms:
            self.get_logger().warning(
                f"a chunk takes {chunk_ms:.0f} ms, more than the {period_ms:.0f} ms from one to the next: windows are left out; use fewer steps or "
                "more threads"
            )

    def _release(self) -> None:
        inputs, self._inputs = self._inputs, None
        if inputs is not None:
            inputs.close()
        guard, self._guard = self._guard, None
        if guard is not None:
            self.destroy_subscription(guard)
        session, self._session, self._bundle = self._session, None, None
        if session is not None:
            session.close()
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            monitor.close()

    def close(self) -> None:
        """End the thread that plans; call it before the executor is shut down."""
        self._release()

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Apply what can change at any time; while active, refuse the rest."""
        session = self._session
        if session is None:
            return SetParametersResult(successful=True)
        names = [p.name for p in parameters]
        fixed = fixed_among(names) or [name for name in names if name in MONITOR_PARAMETERS]
        if fixed and session.state is not State.STOPPED:
            return SetParametersResult(
                successful=False,
                reason=f"{fixed[0]} cannot change while the policy is active; deactivate first, then clean up and configure: it is read there",
            )
        changed = {p.name: p.value for p in parameters if p.name in LIVE_PARAMETERS}
        try:
            settings = from_mapping(PolicyParameters, {**to_mapping(self._settings), **changed})
            if changed:
                session.planner.runtime.reconfigure(**settings.sampling())
                session.planner.join = settings.joining()
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._settings = settings
        return SetParametersResult(successful=True)

    def _wake(self) -> None:
        """Called by the worker: have the executor fetch what it planned."""
        executor = self.executor
        if executor is not None:
            executor.create_task(self._collect)

    def _collect(self) -> None:
        if self._session is not None:
            self._send(self._session.collect(self._now_ns()))

    def _on_guard(self, message: GuardStatus) -> None:
        if self._session is not None:
            self._session.follow(message.state == GuardStatus.STATE_POLICY)

    def _send(self, answers: list[Answer]) -> None:
        """Publish the answers, if there are any, and what the session has to say."""
        for answer in answers:
            self._send_one(answer)
        self._after_session(always=any(answer.chunk is not None for answer in answers))
        self._offer()

    def _offer(self) -> None:
        """Give the monitor the newest window, where it would take it."""
        session, monitor = self._session, self._monitor
        if session is not None and monitor is not None and (stamp_ns := session.seen_ns) is not None and monitor.due(stamp_ns):
            monitor.offer(session.window(), stamp_ns)

    def _send_one(self, answer: Answer) -> None:
        assert self._bundle is not None
        observation = self._bundle.policy.observation
        now_ns = self._now_ns()
        # Half the camera's period: shorter than any two images are apart, so that in lock-step every single one is awaited.
        within_s = 0.5 / observation.camera_rate_hz
        self._action.publish(action_chunk(answer, self._sequence, now_ns, self._settings.base_frame, observation.period_ns, within_s))
        self._sequence += 1
        self._report.count(answer)

    def _after_session(self, always: bool = False) -> None:
        """Log the session's events, and publish the status where they, or its state, ask for it."""
        session = self._session
        if session is None:
            return
        events = session.take_events()
        for event in events:
            # rclpy ties a severity to its calling line: one line each.
            if event.level is Level.ERROR:
                self.get_logger().error(event.text)
            elif event.level is Level.WARNING:
                self.get_logger().warning(event.text)
            else:
                self.get_logger().info(event.text)
        changed = session.message != self._message
        self._message = session.message
        if always or events or changed:
            self._publish_status()

    def _check(self) -> None:
        if self._session is not None:
            if self._monitor is not None:
                self._session.withhold(self._monitor.hold_reason)
            self._session.check(self._now_ns())
            self._after_session()
        self._run.tick(time.monotonic_ns())

    def _tell(self) -> None:
        self._publish_status()
        self._report.publish_diagnostics(self._session, self._message, self._monitor)

    def _publish_status(self) -> None:
        self._report.publish_status(self._session, self._message, self._monitor)

    def _status(self) -> PolicyStatus:
        return self._report.status(self._session, self._message, self._monitor)

    def _task(self) -> str:
        return "" if self._bundle is None else self._bundle.policy.task

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def main() -> int:
    """Run the node until SIGINT or SIGTERM; 0 then, 2 where a parameter is refused."""
    return run_node("cdp_policy", PolicyNode, refusals=(ConfigError,), begin=_autostart, close=PolicyNode.close)


def _autostart(node: PolicyNode) -> None:
    if node.get_parameter("autostart").value and node.trigger_configure() == TransitionCallbackReturn.SUCCESS:
        node.trigger_activate()
