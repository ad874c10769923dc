"""What the simulated robot is told: commands, and in lock-step the guard's answers."""

from __future__ import annotations

from cdp_msgs.msg import GripperCommand, GuardStatus
from cdp_ros.stamps import stamp_to_ns
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory

from cdp_franka_sim import sim_messages as messages
from cdp_franka_sim.physics import FrankaSim


class Inlet:
    """Hands commands to the simulated robot and remembers their stamps. ``guard_state``: as the guard last said."""

    def __init__(self, node: Node, sim: FrankaSim, lockstep: bool) -> None:
        self._node, self._sim = node, sim
        self.last_command_ns = 0
        self._last_gripper_ns = self._promised_command_ns = self._promised_gripper_ns = 0
        self._answered_ns, self.guard_state = -1, GuardStatus.STATE_REFUSING
        node.create_subscription(PoseStamped, "/cartesian_impedance_example_controller/equilibrium_pose", self._on_pose, 10)
        node.create_subscription(JointTrajectory, "/fr3_arm_controller/joint_trajectory", self._on_joints, 10)
        node.create_subscription(GripperCommand, "/cdp/gripper_command", self._on_gripper, 10)
        if lockstep:
            node.create_subscription(GuardStatus, "/cdp/guard/status", self._on_guard, 10)

    def answered_since(self, now_ns: int) -> bool:
        """Whether the guard has answered the tick of this time or a later one, and its command, if it sent one, is here."""
        return self._answered_ns >= now_ns and self._commands_are_here()

    def answered_at(self, now_ns: int) -> bool:
        """Whether the guard's newest answer is to the tick of this very time, and its command is here."""
        return self._answered_ns == now_ns and self._commands_are_here()

    def _commands_are_here(self) -> bool:
        return self.last_command_ns >= self._promised_command_ns and self._last_gripper_ns >= self._promised_gripper_ns

    def _on_pose(self, message: PoseStamped) -> None:
        try:
            self._sim.set_equilibrium_pose(*messages.pose_target(message))
        except ValueError as error:
            self._refuse(error)
            return
        self.last_command_ns = max(self.last_command_ns, stamp_to_ns(message.header.stamp))

    def _on_joints(self, message: JointTrajectory) -> None:
        try:
            self._sim.set_joint_target(*messages.joint_target(message))
        except ValueError as error:
            self._refuse(error)
            return
        self.last_command_ns = max(self.last_command_ns, stamp_to_ns(message.header.stamp))

    def _on_gripper(self, message: GripperCommand) -> None:
        try:
            self._sim.set_gripper(message.width_m)
        except ValueError as error:
            self._refuse(error)
            return
        self._last_gripper_ns = max(self._last_gripper_ns, stamp_to_ns(message.header.stamp))

    def _refuse(self, error: ValueError) -> None:
        self._node.get_logger().error(f"command refused: {error}; the last target is kept", throttle_duration_sec=1.0)

    def _on_guard(self, status: GuardStatus) -> None:
        self._answered_ns = stamp_to_ns(status.header.stamp)
        self._promised_command_ns = stamp_to_ns(status.command_stamp)
        self._promised_gripper_ns = stamp_to_ns(status.gripper_command_stamp)
        self.guard_state = status.state
