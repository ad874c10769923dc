"""The simulated robot behind the real robot's topics, in real time or in lock-step with the guard."""

from __future__ import annotations

import sys
import threading
import time

import rclpy
from builtin_interfaces.msg import Time
from cdp_msgs.msg import GuardStatus, TaskState
from cdp_msgs.srv import ResetScene
from cdp_ros.executor import make_executor
from cdp_ros.parameters import declare, read
from cdp_ros.settle import settle
from cdp_ros.signals import stop_on_signals
from cdp_ros.stamps import NS_PER_S, ns_to_stamp
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from cdp.config import ConfigError
from cdp_franka_sim import sim_messages as messages
from cdp_franka_sim.assets import AssetError
from cdp_franka_sim.camera import RenderError
from cdp_franka_sim.physics import FrankaSim
from cdp_franka_sim.render_thread import RenderThread
from cdp_franka_sim.sim_diagnostics import Diagnostics
from cdp_franka_sim.sim_inlet import Inlet
from cdp_franka_sim.sim_node_config import SimNodeConfig
from cdp_franka_sim.sim_outlet import Outlet
from cdp_franka_sim.sim_pictures import Pictures
from cdp_franka_sim.tasks import make_task

TICK_NS = 10_000_000
# A real-time run that is further behind the clock than this gives the time up instead of rushing after it: the stamps of a robot are never old,
# and the guard, rightly, faults on states that are.
MAX_BEHIND_NS = 2 * TICK_NS
# How often an instant is published anew while time stands still, for peers that have not heard it yet [wall seconds].
HOLD_PERIOD_S = 0.02
# How often its picture is: a policy that was not active yet has not taken it, and would wait for another as long as time stands still.
HOLD_PICTURE_PERIOD_S = 0.5
# Simulated time does not begin at 0, which ROS takes for "no time yet".
FIRST_NS = NS_PER_S


class SimNode(Node):
    """Owns the simulated robot; :meth:`run` drives it from the main thread, pictures are drawn in another."""

    def __init__(self) -> None:
        """Raises ConfigError, AssetError or RenderError; the message says what to do."""
        super().__init__("cdp_franka_sim")
        declare(self, SimNodeConfig)
        self._settings = read(self, SimNodeConfig)
        self._sim = FrankaSim(make_task(self._settings.task))
        self._render = RenderThread(self._sim.make_camera)
        self._seed, self._episode = self._settings.seed, 0
        self._sim.reset(self._seed)
        self._origin_ns = FIRST_NS if self._settings.lockstep else self._now_ns()
        self._tick_index = 0
        self._holding = False
        self._slipped_ns = self._lockstep_timeouts = 0
        lockstep, rate_hz = self._settings.lockstep, self._settings.camera_rate_hz
        self._outlet = Outlet(self, lockstep)
        self._pictures = Pictures(self._render, self._outlet, rate_hz, self._time_ns, wait=lockstep)
        self._diagnostics = Diagnostics(self._pictures, self._sim.time_ns, rate_hz, real_time=not lockstep)
        self._inlet = Inlet(self, self._sim, lockstep)
        self.create_service(ResetScene, "/cdp_sim/reset", self._on_reset)

    @property
    def _time_ns(self) -> int:
        """Stamp of the present instant."""
        return self._origin_ns + self._sim.time_ns

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_reset(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        response.stamp = ns_to_stamp(self._time_ns)
        age_s = (self._time_ns - self._inlet.last_command_ns) / NS_PER_S
        if self._inlet.last_command_ns > 0 and age_s < self._settings.reset_quiet_s:
            response.success = False
            response.message = f"a command came {age_s:.2f} s ago and the arm would jump: disengage the guard first; nothing was reset"
            return response
        if request.hold and not self._settings.lockstep:
            response.success, response.message = False, "only in lock-step can time stand still: reset without hold; nothing was reset"
            return response
        try:
            self._sim.reset(request.seed)
        except ValueError as error:
            response.success, response.message = False, f"{error}; nothing was reset"
            return response
        self._seed, self._episode, self._holding = int(request.seed), self._episode + 1, bool(request.hold)
        # Requests are served between two instants: what is stamped now still showed the old scene.
        response.stamp = ns_to_stamp(self._time_ns + TICK_NS)
        response.success, response.message = True, f"scene of seed {request.seed}"
        return response

    def run(self, stop: threading.Event) -> None:
        """Drive the robot until ``stop`` is set."""
        executor = make_executor()
        executor.add_node(self)
        settle(self)
        try:
            while not stop.is_set():
                if not self._holding or self._stand_still(executor, stop):
                    self._sense()
                    if self._settings.lockstep:
                        self._await_guard(executor, stop)
                    else:
                        self._await_time(executor, stop)
                self._sim.step(TICK_NS / NS_PER_S)
                self._diagnose()
        finally:
            self._render.close()
            executor.shutdown()

    def _sense(self) -> None:
        """Publish everything that is measured at this instant; in lock-step also the clock before and the tick after it."""
        now_ns, state = self._time_ns, self._sim.state()
        stamp = ns_to_stamp(now_ns)
        if self._settings.lockstep:
            self._outlet.clock(stamp)
        self._outlet.state(state, stamp)
        if self._pictures.due(now_ns):
            self._pictures.take(self._sim.positions(), self._truth(stamp), now_ns, stamp)
        if self._settings.lockstep:
            self._tick_index += 1
            self._outlet.tick(stamp, ns_to_stamp(self._pictures.newest_ns), self._tick_index)

    def _await_time(self, executor: Executor, stop: threading.Event) -> None:
        """Take commands until the clock has reached the next tick."""
        behind_ns = self._now_ns() - self._time_ns - TICK_NS
        if behind_ns > MAX_BEHIND_NS:
            self._origin_ns += behind_ns
            self._slipped_ns += behind_ns
        while not stop.is_set():
            left_s = (self._time_ns + TICK_NS - self._now_ns()) / NS_PER_S
            executor.spin_once(timeout_sec=max(left_s, 0.0))
            if left_s <= 0.0:
                return

    def _await_guard(self, executor: Executor, stop: threading.Event) -> None:
        """Take messages until the guard has answered this tick and its command, if it sent one, is here."""
        now_ns, end = self._time_ns, time.monotonic() + self._settings.lockstep_timeout_s
        while not stop.is_set():
            if self._inlet.answered_since(now_ns):
                return
            left_s = end - time.monotonic()
            if left_s <= 0.0:
                self._lockstep_timeouts += 1
                self.get_logger().warning(
                    f"lock-step: no answer of the guard within {self._settings.lockstep_timeout_s} s; going on without it", throttle_duration_sec=5.0
                )
                return
            executor.spin_once(timeout_sec=min(left_s, 0.1))

    def _stand_still(self, executor: Executor, stop: threading.Event) -> bool:
        """Stay at a scene's first instant: unseen until the guard is engaged, then with its picture until the guard follows a source.

        So what nodes need of wall-clock time to find each other, to activate and to plan does not show in the episode: equal seeds make equal runs.
        False where the scene was reset meanwhile: this instant showed the old one.
        """
        now_ns, episode, end = self._time_ns, self._episode, time.monotonic() + self._settings.hold_timeout_s
        self._pictures.next_ns, shown, picture_s = now_ns + NS_PER_S, False, 0.0
        while not stop.is_set():
            self._sense()
            self._spin_for(executor, HOLD_PERIOD_S)
            if self._episode != episode:
                self._pictures.next_ns = now_ns
                return False
            answered = self._inlet.answered_at(now_ns)
            if answered and shown and self._inlet.guard_state in (GuardStatus.STATE_OPERATOR, GuardStatus.STATE_POLICY):
                break
            if answered and not shown:
                # The guard has this instant: whoever hears of the scene from now on engages it from there.
                self._outlet.task(self._truth(ns_to_stamp(now_ns)))
                shown = self._inlet.guard_state != GuardStatus.STATE_REFUSING
            if shown and time.monotonic() - picture_s > HOLD_PICTURE_PERIOD_S:
                self._pictures.next_ns, picture_s = now_ns, time.monotonic()
            if time.monotonic() > end:
                self.get_logger().warning(
                    f"the guard has followed nobody for {self._settings.hold_timeout_s:g} s since the reset: time goes on, and this episode can not "
                    "be repeated exactly"
                )
                if not shown:
                    self._pictures.next_ns = now_ns
                break
        self._holding = False
        return True

    def _spin_for(self, executor: Executor, duration_s: float) -> None:
        end = time.monotonic() + duration_s
        while (left_s := end - time.monotonic()) > 0.0:
            executor.spin_once(timeout_sec=left_s)

    def _truth(self, stamp: Time) -> TaskState:
        return messages.task_state(self._settings.task, self._seed, self._episode, self._sim.task_state(), self._sim.state(), stamp)

    def _diagnose(self) -> None:
        array = self._diagnostics.due(self._sim.time_ns, self._slipped_ns, self._lockstep_timeouts)
        if array is None:
            return
        array.header.stamp = ns_to_stamp(self._time_ns)
        self._outlet.diagnostics(array)
        if self._diagnostics.slow:
            self.get_logger().warning(self._diagnostics.slow, throttle_duration_sec=10.0)


def main(args: list[str] | None = None) -> int:
    """Run the simulator until SIGINT or SIGTERM; 0 then, 2 where it cannot start."""
    with stop_on_signals() as stop:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        try:
            node = SimNode()
        except (ConfigError, AssetError, RenderError) as error:
            sys.stderr.write(f"cdp_franka_sim does not start: {error}\n")
            rclpy.shutdown()
            return 2
        try:
            node.run(stop)
        finally:
            node.destroy_node()
            rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
