"""Makes the command interface that the configuration names."""

from __future__ import annotations

from rclpy.node import Node

from cdp_franka.guard_config import GuardConfig
from cdp_policy_node.command import forward, trajectory
from cdp_policy_node.command.config import DRIVER, CommandConfig
from cdp_policy_node.command.crisp_joint import CrispJointCommand
from cdp_policy_node.command.forward import ForwardPositionCommand
from cdp_policy_node.command.interface import CommandInterface
from cdp_policy_node.command.joint_order import JointOrder
from cdp_policy_node.command.manager import ControllerManager
from cdp_policy_node.command.output import CommandOutput
from cdp_policy_node.command.peer import Peer, spawn
from cdp_policy_node.command.pose import PoseCommand
from cdp_policy_node.command.servo import ServoCommand, TwistCommand
from cdp_policy_node.command.trajectory import JointTrajectoryCommand

NAMES = {
    "joint_trajectory_controller": "fr3_arm_controller",
    "cartesian_impedance": "cartesian_impedance_example_controller",
    "crisp_pose": "cartesian_impedance_controller",
    "crisp_joint": "joint_impedance_controller",
    "forward_position": "forward_position_controller",
    "servo_twist": "servo_node",
    "servo_pose": "servo_node",
    DRIVER: DRIVER,
}
_POSE = "geometry_msgs/msg/PoseStamped"
_POINT = "trajectory_msgs/msg/JointTrajectory"
_OURS = " --param-file $(ros2 pkg prefix --share cdp_policy_node)/config/controllers_fr3.yaml"
_EXAMPLE = "franka_ros2's own example of that name moves the arm by itself once it is active (docs/robot.md): set command_interface to joint instead"
_SERVO = "start MoveIt Servo with the move group fr3_manipulator and moveit_servo.command_in_type: speed_units"


def make_command_output(node: Node, config: CommandConfig, guard: GuardConfig, period_s: float) -> CommandOutput:
    """The guard's way out. ``period_s``: time from one command to the next.

    Raises ConfigError for a controller that takes other commands than ``guard`` makes, or needs a package that is not installed.
    """
    chosen = config.chosen(guard)
    peer = _peer(chosen, config, guard.command_interface)
    interface = _interface(node, chosen, peer, config, guard, period_s)
    return CommandOutput(node, chosen, interface, ControllerManager(node, config.absolute(), peer))


def _peer(chosen: str, config: CommandConfig, command_interface: str) -> Peer:
    name = config.controller_name or NAMES[chosen]
    if chosen == DRIVER:
        topic, kind = ("joint_trajectory", _POINT) if command_interface == "joint" else ("equilibrium_pose", _POSE)
        return Peer(config.absolute(name, topic), kind, _driver(name, command_interface))
    if chosen == "joint_trajectory_controller":
        topic = config.absolute(name, "joint_trajectory")
        return Peer(topic, _POINT, spawn(name, _OURS), name, trajectory.PLUGIN)
    if chosen == "cartesian_impedance":
        start = f"{_EXAMPLE}; where the arm has a changed copy of it, {spawn(name)}"
        return Peer(config.absolute(name, "equilibrium_pose"), _POSE, start, name)
    if chosen == "crisp_pose":
        return Peer(config.absolute("target_pose"), _POSE, spawn(name), name)
    if chosen == "crisp_joint":
        return Peer(config.absolute("target_joint"), "sensor_msgs/msg/JointState", spawn(name), name)
    if chosen == "forward_position":
        return Peer(config.absolute(name, "commands"), "std_msgs/msg/Float64MultiArray", spawn(name), name, forward.PLUGIN)
    topic, kind = ("delta_twist_cmds", "geometry_msgs/msg/TwistStamped") if chosen == "servo_twist" else ("pose_target_cmds", _POSE)
    return Peer(config.absolute(name, topic), kind, _SERVO)


def _interface(node: Node, chosen: str, peer: Peer, config: CommandConfig, guard: GuardConfig, period_s: float) -> CommandInterface:
    joints = guard.limits.joint_names
    name = config.absolute(config.controller_name or NAMES[chosen])
    if chosen == "joint_trajectory_controller" or (chosen == DRIVER and guard.command_interface == "joint"):
        return JointTrajectoryCommand(node, peer, joints, config.point_lead_periods * period_s)
    if chosen == "crisp_joint":
        return CrispJointCommand(node, peer, JointOrder(node, name, joints))
    if chosen == "forward_position":
        return ForwardPositionCommand(node, peer, JointOrder(node, name, joints, forward.EXPECTED))
    if chosen == "servo_twist":
        return ServoCommand(node, TwistCommand(node, peer, guard.base_frame, config.servo_gain_per_s), name, "TWIST")
    pose = PoseCommand(node, peer, guard.base_frame)
    return ServoCommand(node, pose, name, "POSE") if chosen == "servo_pose" else pose


def _driver(name: str, command_interface: str) -> str:
    return (
        f"the driver reads it while the arm is under control: /{name}/status says what keeps it; where it does not run, start it: "
        f"ros2 run cdp_franka_driver franka_driver --ros-args -p robot_ip:=172.16.0.2 -p command_interface:={command_interface}"
    )
