"""The simulated robot behind the real robot's topics, in real time or in lock-step with the guard."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from cdp_msgs.msg import GripperCommand, GuardStatus, LockstepTick, TaskState
from cdp_msgs.srv import ResetScene
from cdp_ros.executor import make_executor
from cdp_ros.parameters import declare, read
from cdp_ros.settle import settle
from cdp_ros.signals import stop_on_signals
from cdp_ros.stamps import NS_PER_S, ns_to_stamp, stamp_to_ns
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image, JointState
from trajectory_msgs.msg import JointTrajectory

from cdp.config import ConfigError, setting
from cdp_franka_sim import sim_messages as messages
from cdp_franka_sim.assets import AssetError
from cdp_franka_sim.camera import RenderError
from cdp_franka_sim.physics import FrankaSim
from cdp_franka_sim.render_thread import RenderThread
from cdp_franka_sim.tasks import make_task

TICK_NS = 10_000_000
# A real-time run that is further behind the clock than this gives the time up instead of rushing after it: the stamps of a robot are never old,
# and the guard, rightly, faults on states that are.
MAX_BEHIND_NS = 2 * TICK_NS
# How often an instant is published anew while time stands still, for peers that have not heard it yet [wall seconds].
HOLD_PERIOD_S = 0.02
# Simulated time does not begin at 0, which ROS takes for "no time yet".
FIRST_NS = NS_PER_S
IMAGE_DEPTH = 30
# A picture may wait for the one before it and one more: a moment of load then delays pictures and loses none.
PICTURES_WAITING = 1


@dataclass(frozen=True)
class SimNodeConfig:
    """Settings of the node around the simulated robot."""

    task: str = setting("slide", help="task of the scene")
    seed: int = setting(0, low=0, high=2**53, help="seed of the first scene")
    lockstep: bool = setting(False, help="step when the guard has answered instead of in real time, and publish /clock")
    lockstep_timeout_s: float = setting(2.0, low=0.05, high=60.0, help="wall time after which a tick goes on without the guard's answer [s]")
    hold_timeout_s: float = setting(30.0, low=0.1, high=600.0, help="wall time after which a reset that holds lets time go on all the same [s]")
    camera_rate_hz: float = setting(30.0, low=1.0, high=60.0, help="rate of the camera [Hz]")
    reset_quiet_s: float = setting(0.2, low=0.05, high=5.0, help="a reset is refused while a command is younger than this [s]")


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
        self._next_image_ns = self._time_ns
        self._image_ns = self._tick_index = 0
        self._last_command_ns = self._last_gripper_ns = self._promised_command_ns = self._promised_gripper_ns = 0
        self._answered_ns, self._guard_state = -1, GuardStatus.STATE_REFUSING
        self._holding = False
        self._slipped_ns = self._lockstep_timeouts = self._images = self._late_images = 0
        self._diagnosed = (time.monotonic(), self._sim.time_ns, 0)
        self._publish_to()
        self._listen_to()

    def _publish_to(self) -> None:
        reliable = QoSProfile(depth=10)
        best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._image_pub = self.create_publisher(Image, "/agentview/image_raw", QoSProfile(depth=IMAGE_DEPTH))
        self._info_pub = self.create_publisher(CameraInfo, "/agentview/camera_info", reliable)
        self._joints_pub = self.create_publisher(JointState, "/joint_states", reliable)
        # The real broadcaster is best effort; in lock-step a lost pose would cost a time-out.
        pose_qos = reliable if self._settings.lockstep else best_effort
        self._pose_pub = self.create_publisher(PoseStamped, "/franka_robot_state_broadcaster/current_pose", pose_qos)
        self._gripper_pub = self.create_publisher(JointState, "/franka_gripper/joint_states", reliable)
        self._task_pub = self.create_publisher(TaskState, "/cdp_sim/task", QoSProfile(depth=IMAGE_DEPTH))
        self._diagnostics_pub = self.create_publisher(DiagnosticArray, "/diagnostics", reliable)
        if self._settings.lockstep:
            self._clock_pub = self.create_publisher(ClockMessage, "/clock", reliable)
            self._tick_pub = self.create_publisher(LockstepTick, "/cdp_sim/tick", reliable)

    def _listen_to(self) -> None:
        self.create_subscription(PoseStamped, "/cartesian_impedance_example_controller/equilibrium_pose", self._on_pose, 10)
        self.create_subscription(JointTrajectory, "/fr3_arm_controller/joint_trajectory", self._on_joints, 10)
        self.create_subscription(GripperCommand, "/cdp/gripper_command", self._on_gripper, 10)
        if self._settings.lockstep:
            self.create_subscription(GuardStatus, "/cdp/guard/status", self._on_guard, 10)
        self.create_service(ResetScene, "/cdp_sim/reset", self._on_reset)

    @property
    def _time_ns(self) -> int:
        """Stamp of the present instant."""
        return self._origin_ns + self._sim.time_ns

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    # Commands

    def _on_pose(self, message: PoseStamped) -> None:
        try:
            self._sim.set_equilibrium_pose(*messages.pose_target(message))
        except ValueError as error:
            self._refuse_command(error)
            return
        self._last_command_ns = max(self._last_command_ns, stamp_to_ns(message.header.stamp))

    def _on_joints(self, message: JointTrajectory) -> None:
        try:
            self._sim.set_joint_target(*messages.joint_target(message))
        except ValueError as error:
            self._refuse_command(error)
            return
        self._last_command_ns = max(self._last_command_ns, stamp_to_ns(message.header.stamp))

    def _on_gripper(self, message: GripperCommand) -> None:
        try:
            self._sim.set_gripper(message.width_m)
        except ValueError as error:
            self._refuse_command(error)
            return
        self._last_gripper_ns = max(self._last_gripper_ns, stamp_to_ns(message.header.stamp))

    def _refuse_command(self, error: ValueError) -> None:
        self.get_logger().error(f"command refused: {error}; the last target is kept", throttle_duration_sec=1.0)

    def _on_guard(self, status: GuardStatus) -> None:
        self._answered_ns = stamp_to_ns(status.header.stamp)
        self._promised_command_ns = stamp_to_ns(status.command_stamp)
        self._promised_gripper_ns = stamp_to_ns(status.gripper_command_stamp)
        self._guard_state = status.state

    def _on_reset(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        response.stamp = ns_to_stamp(self._time_ns)
        age_s = (self._time_ns - self._last_command_ns) / NS_PER_S
        if self._last_command_ns > 0 and age_s < self._settings.reset_quiet_s:
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

    # Time

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
            self._clock_pub.publish(ClockMessage(clock=stamp))
        self._joints_pub.publish(messages.joint_states(state, stamp))
        self._pose_pub.publish(messages.eef_pose(state, stamp))
        self._gripper_pub.publish(messages.gripper_states(state, stamp))
        if now_ns >= self._next_image_ns:
            self._photograph(now_ns, stamp)
        if self._settings.lockstep:
            self._tick_index += 1
            self._tick_pub.publish(LockstepTick(stamp=stamp, observation_stamp=ns_to_stamp(self._image_ns), index=self._tick_index))

    def _photograph(self, now_ns: int, stamp: Time) -> None:
        period_ns = round(NS_PER_S / self._settings.camera_rate_hz)
        self._next_image_ns += period_ns
        if self._next_image_ns <= now_ns:
            # After lost time a camera goes on at its rate; it does not send what it owes in a burst.
            self._next_image_ns = now_ns + period_ns
        if self._render.waiting > PICTURES_WAITING:
            # A camera that cannot keep up loses pictures; it does not send old ones late.
            self._late_images += 1
            return
        truth = self._truth(stamp)
        self._image_ns = now_ns

        def deliver(rgb: NDArray[np.uint8]) -> None:
            self._info_pub.publish(messages.camera_info(self._render.camera.intrinsics, stamp))
            self._image_pub.publish(messages.image(rgb, stamp))
            self._task_pub.publish(truth)

        done = self._render.draw(self._sim.positions(), deliver)
        self._images += 1
        if self._settings.lockstep:
            done.wait()

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
            if self._answered_ns >= now_ns and self._commands_are_here():
                return
            left_s = end - time.monotonic()
            if left_s <= 0.0:
                self._lockstep_timeouts += 1
                self.get_logger().warning(
                    f"lock-step: no answer of the guard within {self._settings.lockstep_timeout_s} s; going on without it", throttle_duration_sec=5.0
                )
                return
            executor.spin_once(timeout_sec=min(left_s, 0.1))

    def _commands_are_here(self) -> bool:
        return self._last_command_ns >= self._promised_command_ns and self._last_gripper_ns >= self._promised_gripper_ns

    def _stand_still(self, executor: Executor, stop: threading.Event) -> bool:
        """Stay at a scene's first instant: unseen until the guard is engaged, then with its picture until the guard follows a source.

        So what nodes need of wall-clock time to find each other, to activate and to plan does not show in the episode: equal seeds make equal runs.
        False where the scene was reset meanwhile: this instant showed the old one.
        """
        now_ns, episode, end = self._time_ns, self._episode, time.monotonic() + self._settings.hold_timeout_s
        self._next_image_ns, shown = now_ns + NS_PER_S, False
        while not stop.is_set():
            self._sense()
            self._spin_for(executor, HOLD_PERIOD_S)
            if self._episode != episode:
                self._next_image_ns = now_ns
                return False
            answered = self._answered_ns == now_ns and self._commands_are_here()
            if answered and shown and self._guard_state in (GuardStatus.STATE_OPERATOR, GuardStatus.STATE_POLICY):
                break
            if answered and not shown:
                # The guard has this instant: whoever hears of the scene from now on engages it from there.
                self._task_pub.publish(self._truth(ns_to_stamp(now_ns)))
                if self._guard_state != GuardStatus.STATE_REFUSING:
                    self._next_image_ns, shown = now_ns, True
            if time.monotonic() > end:
                self.get_logger().warning(
                    f"the guard has followed nobody for {self._settings.hold_timeout_s:g} s since the reset: time goes on, and this episode can not "
                    "be repeated exactly"
                )
                if not shown:
                    self._next_image_ns = now_ns
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
        wall_s, sim_ns, images = self._diagnosed
        elapsed_s = time.monotonic() - wall_s
        if elapsed_s < 1.0:
            return
        factor = (self._sim.time_ns - sim_ns) / NS_PER_S / elapsed_s
        camera_hz = (self._images - images) / elapsed_s
        self._diagnosed = (time.monotonic(), self._sim.time_ns, self._images)
        slow = not self._settings.lockstep and (camera_hz < 0.9 * self._settings.camera_rate_hz or factor < 0.95)
        status = DiagnosticStatus(
            level=DiagnosticStatus.WARN if slow else DiagnosticStatus.OK,
            name="cdp_franka_sim",
            message="slower than real time" if slow else "running",
            hardware_id="mujoco",
            values=[
                KeyValue(key="real_time_factor", value=f"{factor:.3f}"),
                KeyValue(key="camera_hz", value=f"{camera_hz:.1f}"),
                KeyValue(key="images_skipped", value=str(self._late_images)),
                KeyValue(key="slipped_s", value=f"{self._slipped_ns / NS_PER_S:.3f}"),
                KeyValue(key="lockstep_timeouts", value=str(self._lockstep_timeouts)),
            ],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = ns_to_stamp(self._time_ns)
        self._diagnostics_pub.publish(array)
        if slow:
            self.get_logger().warning(
                f"the simulator runs at {factor:.2f} of real time, its camera at {camera_hz:.1f} Hz: this machine is too busy",
                throttle_duration_sec=10.0,
            )


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
