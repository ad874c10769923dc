"""The robot behind its topics: the real FR3 when robot_ip is given, MuJoCo otherwise. Nothing else changes between the two."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from cdp_policy_node.launch_nodes import CLOCK, cameras, ours
from cdp_policy_node.launch_parts import SIMULATED, config, expression, refuse, require, robot_arguments, values

BY_FRANKA_ROS2 = "{robot_ip} != '' and {driver} == 'franka_ros2'"
BY_LIBFRANKA = "{robot_ip} != '' and {driver} == 'libfranka'"
# The one controller that is ours to configure; the guard says how to start the others.
SPAWNED = f"{BY_FRANKA_ROS2} and ({{controller}} == 'joint_trajectory_controller' or ({{controller}} == 'auto' and {{command_interface}} == 'joint'))"
HAS_HAND = "{robot_ip} != '' and {gripper} == 'true'"
# The rate that config/recorder.yaml expects; franka_ros2's own default is 30 Hz.
FR3 = {"robot_type": "fr3", "joint_state_rate": "100"}
WATCHDOGS = ("state_timeout_s", "source_margin_s", "max_observation_age_s")


def checks() -> list:
    """What has to be there before anything is started."""
    underlay = "build it beside this workspace and say `export CDP_UNDERLAY=<its workspace>/install` before `. tools/env.sh` (docs/install.md)"
    other = "or take camera:=none where another driver of the camera runs, or camera:="
    return [
        refuse(
            "{robot_ip} == '' and {driver} == 'libfranka'", "driver:=libfranka needs the arm's address, robot_ip:=<address>; without one MuJoCo runs"
        ),
        refuse(f"{SIMULATED} and {{camera}} != 'none'", "the simulated arm has a camera: leave out camera:=, or give robot_ip:= or driver:=none"),
        require(BY_FRANKA_ROS2, {"franka_bringup": f"{underlay}; or take driver:=libfranka"}),
        require(
            BY_LIBFRANKA,
            {"cdp_franka_driver": "build this workspace with it (`make build`), or take driver:=franka_ros2"},
            files=["config/driver.yaml"],
        ),
        require("{camera} == 'realsense'", {"realsense2_camera": f"sudo apt-get install ros-$ROS_DISTRO-realsense2-camera, {other}v4l2"}),
        require("{camera} == 'v4l2'", {"v4l2_camera": f"sudo apt-get install ros-$ROS_DISTRO-v4l2-camera, {other}realsense"}),
    ]


def arm() -> list:
    """Who talks to the arm, or MuJoCo in its place."""
    return [
        ours(
            "cdp_franka_sim",
            "sim_node",
            "cdp_franka_sim",
            [config("sim.yaml"), values("task", "seed", "lockstep")],
            when=SIMULATED,
            ends_launch="the simulator ended",
        ),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(PathJoinSubstitution([FindPackageShare("franka_bringup"), "launch", "franka.launch.py"])),
            launch_arguments={**values("robot_ip", "controllers_yaml"), **FR3, "load_gripper": LaunchConfiguration("gripper")}.items(),
            condition=IfCondition(expression(BY_FRANKA_ROS2)),
        ),
        Node(
            package="controller_manager",
            executable="spawner",
            output="screen",
            arguments=["fr3_arm_controller", "--controller-manager-timeout", "60"],
            condition=IfCondition(expression(SPAWNED)),
        ),
        ours(
            "cdp_franka_driver",
            "franka_driver",
            "franka_driver",
            [config("driver.yaml"), values("robot_ip", "command_interface")],
            when=BY_LIBFRANKA,
            ends_launch="the driver of the arm ended",
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    arguments = [
        *robot_arguments(),
        DeclareLaunchArgument("task", default_value="slide", description="Task of the simulated scene."),
        DeclareLaunchArgument("seed", default_value="0", description="Seed of the first simulated scene."),
        DeclareLaunchArgument(
            "controllers_yaml", default_value=config("controllers_fr3.yaml"), description="Controllers of the real FR3 for franka_bringup."
        ),
        DeclareLaunchArgument(
            "gripper",
            default_value="true",
            choices=["true", "false"],
            description="Whether the arm has Franka's hand, to be driven by cdp_gripper or the libfranka driver; MuJoCo always has it.",
        ),
        # An arm never stalls; a simulator that shares a busy machine with its guard does, and nothing can break in it.
        DeclareLaunchArgument(
            "state_timeout_s",
            default_value=expression("0.5 if {robot_ip} == '' else 0.1"),
            description="Age of the robot's states from which the guard faults [s]; 0.1 on the arm, 0.5 in simulation.",
        ),
        DeclareLaunchArgument(
            "source_margin_s",
            default_value=expression("0.25 if {robot_ip} == '' else 0.08"),
            description="Added to a source's promise before the guard holds [s]; 0.08 on the arm, 0.25 in simulation.",
        ),
        DeclareLaunchArgument(
            "max_observation_age_s",
            default_value=expression("0.5 if {robot_ip} == '' else 0.3"),
            description="Age of the newest observation that a source has answered from which the guard holds [s].",
        ),
    ]
    # Either is a node of its own that nothing waits for: without a hand the arm works on.
    hand = [
        ours("cdp_policy_node", "gripper_node", "cdp_gripper", [config("gripper.yaml")], when=f"{HAS_HAND} and {{driver}} != 'libfranka'"),
        ours("cdp_franka_driver", "franka_hand", "franka_hand", [config("driver.yaml"), values("robot_ip")], when=f"{HAS_HAND} and {BY_LIBFRANKA}"),
    ]
    controller = {"controller": expression(f"'franka_driver' if {BY_LIBFRANKA} and {{controller}} == 'auto' else {{controller}}")}
    # Without a hand no width ever comes, and the guard is not to wait for one.
    width = {"has_gripper": expression(f"{{gripper}} == 'true' or ({SIMULATED})")}
    guard = ours(
        "cdp_policy_node",
        "guard_node",
        "cdp_guard",
        [config("guard.yaml"), {**values("command_interface", "lockstep", *WATCHDOGS), **controller, **width, **CLOCK}],
        ends_launch="the command guard ended",
    )
    return LaunchDescription([*arguments, *checks(), *arm(), *cameras(), *hand, guard])
