"""The command guard as a node, in a process of its own: the only publisher to the robot."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from cdp_msgs.msg import ActionChunk, GripperCommand, GuardStatus, LockstepTick
from cdp_ros.main import run_node
from cdp_ros.parameters import declare, read
from cdp_ros.qos import RELIABILITIES, stream_qos
from cdp_ros.stamps import NS_PER_S, stamp_to_ns
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from cdp.config import ConfigError, setting
from cdp_franka.chunk import to_ns
from cdp_franka.frames import pose_frame_problem
from cdp_franka.guard import GuardCore
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_lockstep import SOURCE_WORDS
from cdp_franka.guard_types import GuardOutput, State
from cdp_policy_node import guard_messages as messages
from cdp_policy_node.command.build import make_command_output
from cdp_policy_node.command.config import CommandConfig
from cdp_policy_node.guard_priority import ask_for_priority


@dataclass(frozen=True)
class GuardNodeConfig:
    """Settings of the node around the guard core."""

    rate_hz: float = setting(100.0, low=20.0, high=1000.0, help="command rate in real time [Hz]")
    lockstep: bool = setting(False, help="tick when the simulator has published an instant, not by a timer")
    lockstep_timeout_s: float = setting(1.5, low=0.05, high=60.0, help="wall time after which a tick no longer waits for a silent peer [s]")
    reliable: bool = setting(False, help="what auto means for joints and gripper: reliable instead of best effort")
    joint_states_reliability: str = setting("auto", choices=RELIABILITIES, help="QoS of the joints: auto (see reliable), best_effort or reliable")
    pose_reliability: str = setting("auto", choices=RELIABILITIES, help="QoS of the pose; auto: best_effort, all that its broadcaster offers")
    gripper_reliability: str = setting("auto", choices=RELIABILITIES, help="QoS of the gripper's joints")
    state_depth: int = setting(5, low=1, high=1000, help="robot states of each stream that may wait to be read; older ones are dropped")
    status_rate_hz: float = setting(10.0, low=1.0, high=100.0, help="rate of the status in real time [Hz]")
    gripper_rate_hz: float = setting(2.0, low=0.1, high=50.0, help="rate at which an unchanged gripper target is repeated [Hz]")
    realtime_priority: int = setting(20, low=0, high=80, help="SCHED_FIFO priority to ask for; 0 asks for none")
    gripper_effort_n: float = setting(30.0, low=1.0, high=70.0, help="force limit of the gripper [N]")


class GuardNode(Node):
    """Thin: messages in, :class:`GuardCore`, messages out."""

    def __init__(self) -> None:
        """Raises ConfigError, or rclpy's own complaint, for a parameter outside its range."""
        super().__init__("cdp_guard")
        # Not read-only to rclpy: our own refusal says what to do instead.
        declare(self, GuardNodeConfig, read_only=False)
        declare(self, GuardConfig, read_only=False)
        declare(self, CommandConfig, read_only=False)
        self._settings, self._guard = read(self, GuardNodeConfig), GuardCore(read(self, GuardConfig))
        self.add_on_set_parameters_callback(_refuse_change)
        self._wall = Clock(clock_type=ClockType.STEADY_TIME)
        self._command_ns = self._gripper_command_ns = 0
        self._status_ns = self._gripper_ns = self._diagnostics_ns = -(1 << 62)
        self._said: tuple[int, int] | None = None
        self._gripper_sent_m: float | None = None
        self._pending: LockstepTick | None = None
        self._gave_up_on: str | None = None
        self._lockstep_timeouts = 0
        self._last_now_ns = 0
        self._publish_to()
        self._listen_to()
        granted, text = ask_for_priority(0 if self._settings.lockstep else self._settings.realtime_priority)
        if granted:
            self.get_logger().info(text)
        else:
            self.get_logger().warning(text)

    def _publish_to(self) -> None:
        reliable = QoSProfile(depth=1)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status_pub = self.create_publisher(GuardStatus, "/cdp/guard/status", latched)
        self._gripper_pub = self.create_publisher(GripperCommand, "/cdp/gripper_command", reliable)
        self._diagnostics_pub = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._commands = make_command_output(self, read(self, CommandConfig), self._guard.config, 1.0 / self._settings.rate_hz)
        self._commands.on_problem = self._on_controller_problem

    def _listen_to(self) -> None:
        s = self._settings
        joints = stream_qos(s.joint_states_reliability, s.state_depth, s.reliable)
        self.create_subscription(JointState, "/joint_states", self._on_joints, joints)
        # The broadcaster offers its pose best effort only; a reliable subscription would match the simulator's alone.
        pose = stream_qos(s.pose_reliability, s.state_depth, s.lockstep)
        self.create_subscription(PoseStamped, "/franka_robot_state_broadcaster/current_pose", self._on_pose, pose)
        gripper = stream_qos(s.gripper_reliability, s.state_depth, s.reliable)
        self.create_subscription(JointState, "/franka_gripper/joint_states", self._on_gripper, gripper)
        self.create_subscription(ActionChunk, "/cdp/action/operator", self._on_action, QoSProfile(depth=10))
        self.create_subscription(ActionChunk, "/cdp/action/policy", self._on_action, QoSProfile(depth=10))
        self.create_service(SetBool, "/cdp/guard/engage", self._on_engage)
        self.create_service(SetBool, "/cdp/guard/retreat", self._on_retreat)
        if self._settings.lockstep:
            self.create_subscription(LockstepTick, "/cdp_sim/tick", self._on_tick, QoSProfile(depth=10))
            # Wall time: a peer that died stops simulated time too. One shot, armed by a tick that has to wait.
            self._give_up_timer = self.create_timer(self._settings.lockstep_timeout_s, self._give_up, clock=self._wall)
            self._give_up_timer.cancel()
            self.create_timer(0.5, self._idle_tick, clock=self._wall)
        else:
            self.create_timer(1.0 / self._settings.rate_hz, self._on_timer)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_joints(self, msg: JointState) -> None:
        values = messages.joint_values(msg, self._guard.config.limits.joint_names)
        if values is not None:
            self._guard.on_joints(stamp_to_ns(msg.header.stamp), *values)
            self._recheck()

    def _on_pose(self, msg: PoseStamped) -> None:
        problem = pose_frame_problem(msg.header.frame_id, self._guard.config.pose_frames)
        if problem is not None:
            self.get_logger().error(f"the measured pose is ignored: {problem}", throttle_duration_sec=5.0)
            return
        p, q = msg.pose.position, msg.pose.orientation
        self._guard.on_pose(stamp_to_ns(msg.header.stamp), [p.x, p.y, p.z], [q.x, q.y, q.z, q.w])
        self._recheck()

    def _on_gripper(self, msg: JointState) -> None:
        width_m = messages.gripper_width_m(msg)
        if width_m is not None:
            self._guard.on_gripper(stamp_to_ns(msg.header.stamp), width_m)
            self._recheck()

    def _on_action(self, msg: ActionChunk) -> None:
        action = messages.action_data(msg)
        now_ns = self._lockstep_now_ns(action.observation_stamp_ns) if self._settings.lockstep else self._now_ns()
        rejected = self._guard.rejected_actions
        self._guard.on_action(action, now_ns)
        if self._guard.rejected_actions > rejected:
            self.get_logger().warning(f"action {msg.sequence} of source {msg.source} refused", throttle_duration_sec=1.0)
        self._recheck()

    def _lockstep_now_ns(self, observation_ns: int) -> int:
        """The time of an action: that of the observation it answers, or of the last tick where that is newer.

        /clock and the tick may arrive before or after the action, and what follows must not depend on it.
        """
        believable = observation_ns <= self._now_ns() + to_ns(self._guard.config.future_tolerance_s)
        return max(self._last_now_ns, observation_ns if believable else self._now_ns())

    def _on_engage(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        now_ns, missing = self._now_ns(), self._commands.check() if request.data else None
        if missing is not None:
            response.success, response.message = False, f"not engaged: {missing}; then engage again"
        else:
            response.success, response.message = self._guard.engage(now_ns) if request.data else self._guard.disengage(now_ns)
            self._gripper_sent_m = None
        self.get_logger().info(response.message)
        return response

    def _on_controller_problem(self, problem: str) -> None:
        """A controller that comes back holds the arm where it is, which is not where the target has gone on to."""
        if self._guard.state is not State.REFUSING:
            _, said = self._guard.disengage(self._now_ns(), f"since the controller is not ready, {problem}")
            self.get_logger().error(said)

    def _on_retreat(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success, response.message = self._guard.retreat(self._now_ns()) if request.data else self._guard.cancel_retreat()
        self.get_logger().info(response.message)
        return response

    def _on_timer(self) -> None:
        self._tick(self._now_ns())

    def _on_tick(self, tick: LockstepTick) -> None:
        self._give_up_timer.reset()
        self._pending = tick
        self._recheck()

    def _recheck(self) -> None:
        """Answer the pending tick if all that it needs has come."""
        if self._pending is None:
            return
        lacking = self._guard.waiting_for(stamp_to_ns(self._pending.stamp), stamp_to_ns(self._pending.observation_stamp))
        if lacking is None:
            self._gave_up_on = None
        if lacking is None or lacking == self._gave_up_on:
            self._answer()

    def _give_up(self) -> None:
        self._give_up_timer.cancel()
        if self._pending is None:
            return
        tick = self._pending
        lacking = self._guard.waiting_for(stamp_to_ns(tick.stamp), stamp_to_ns(tick.observation_stamp)) or "nothing"
        self._lockstep_timeouts += 1
        # Waiting for a source once is enough: until it speaks again, its watchdog decides in simulated time.
        self._gave_up_on = lacking if lacking in SOURCE_WORDS else None
        self.get_logger().warning(f"lock-step: {lacking} did not come within {self._settings.lockstep_timeout_s} s; going on without it")
        self._answer()

    def _answer(self) -> None:
        assert self._pending is not None
        now_ns = stamp_to_ns(self._pending.stamp)
        self._pending = None
        self._give_up_timer.cancel()
        self._tick(now_ns)

    def _idle_tick(self) -> None:
        """Before the simulator's first tick nobody would hear the guard's state."""
        if self._said is None:
            self._report(self._guard.tick(self._now_ns()), self._now_ns())

    def _tick(self, now_ns: int) -> None:
        self._last_now_ns = now_ns
        out = self._guard.tick(now_ns)
        if out.send:
            self._send(out, now_ns)
        self._report(out, now_ns)

    def _send(self, out: GuardOutput, now_ns: int) -> None:
        if out.gripper_width_m is not None:
            due = abs(now_ns - self._gripper_ns) >= NS_PER_S / self._settings.gripper_rate_hz
            if out.gripper_width_m != self._gripper_sent_m or due:
                self._gripper_pub.publish(messages.gripper_command(out.gripper_width_m, self._settings.gripper_effort_n, now_ns))
                self._gripper_sent_m, self._gripper_ns = out.gripper_width_m, now_ns
                self._gripper_command_ns = now_ns
        self._commands.send(out, now_ns, self._guard.robot.pose)
        self._command_ns = now_ns

    def _report(self, out: GuardOutput, now_ns: int) -> None:
        said = (int(out.state), int(out.reason))
        changed = said != self._said
        if changed:
            # Two calls on two lines: rclpy refuses another severity from the same line.
            if out.state is State.FAULT:
                self.get_logger().error(f"{out.state.name}: {out.message}")
            else:
                self.get_logger().info(f"{out.state.name}: {out.message}")
            self._said = said
        due = abs(now_ns - self._status_ns) >= NS_PER_S / self._settings.status_rate_hz
        if changed or due or self._settings.lockstep:
            self._status_pub.publish(messages.status_msg(out, self._guard, now_ns, self._command_ns, self._gripper_command_ns))
            self._status_ns = now_ns
        if abs(now_ns - self._diagnostics_ns) >= NS_PER_S:
            counts = {
                "limited_ticks": self._guard.limited_ticks,
                "rejected_actions": self._guard.rejected_actions,
                "lockstep_timeouts": self._lockstep_timeouts,
            }
            self._diagnostics_pub.publish(messages.diagnostics_msg(out, self._guard, now_ns, counts))
            self._diagnostics_ns = now_ns


def _refuse_change(parameters: list[Parameter]) -> SetParametersResult:
    names = ", ".join(p.name for p in parameters if p.name != "use_sim_time")
    return SetParametersResult(successful=not names, reason=f"{names}: the guard's limits are set at its start; restart it to change them")


def main(args: list[str] | None = None) -> int:
    """Run the guard until SIGINT or SIGTERM; 0 then, 2 where a parameter is refused."""
    return run_node("cdp_guard", GuardNode, refusals=(ConfigError,), args=args)


if __name__ == "__main__":
    sys.exit(main())
