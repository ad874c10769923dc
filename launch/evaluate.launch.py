"""What an evaluation runs on: robot (real or MuJoCo), command guard, policy node, recorder, and teleop for takeover. Nothing moves by itself.

cdp eval <bundle> [<bundle> ...] --real --robot-ip 172.16.0.2        starts it and ends it
ros2 launch cdp_policy_node evaluate.launch.py robot_ip:=172.16.0.2  stays; then: cdp eval <bundle> ... --real --attach
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, NotEqualsSubstitution, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("cdp_policy_node")


def generate_launch_description() -> LaunchDescription:
    task = LaunchConfiguration("task")
    lockstep = LaunchConfiguration("lockstep")
    device = LaunchConfiguration("device")
    image_topic = LaunchConfiguration("image_topic")
    clock = {"use_sim_time": lockstep, "reliable": lockstep}
    arguments = [
        DeclareLaunchArgument("robot_ip", default_value="", description="Address of the real FR3; empty runs MuJoCo instead."),
        DeclareLaunchArgument("task", default_value="slide", description="Task of the bundles, and of the simulated scene."),
        DeclareLaunchArgument("bundle", default_value="slide", description="First policy bundle; the evaluation loads the others by itself."),
        DeclareLaunchArgument(
            "lockstep", default_value="false", choices=["true", "false"], description="Simulation only: as fast as the nodes answer."
        ),
        DeclareLaunchArgument(
            "command_interface", default_value="cartesian", choices=["cartesian", "joint"], description="What the guard commands the arm by."
        ),
        DeclareLaunchArgument(
            "device",
            default_value="auto",
            choices=["auto", "spacenavd", "hidraw", "spacenav", "joy", "none"],
            description="What the operator takes over with (see docs/teleop.md); none leaves teleop out, to be run in a terminal of its own.",
        ),
        DeclareLaunchArgument("image_topic", default_value="/agentview/image_raw", description="Topic of the agent-view camera's images."),
        DeclareLaunchArgument("directory", default_value="data/evaluation", description="Folder that receives one file an episode."),
    ]
    robot = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "robot.launch.py"])),
        launch_arguments={
            "robot_ip": LaunchConfiguration("robot_ip"),
            "task": task,
            "lockstep": lockstep,
            "command_interface": LaunchConfiguration("command_interface"),
        }.items(),
    )
    policy = Node(
        package="cdp_policy_node",
        executable="policy_node",
        name="cdp_policy",
        output="screen",
        parameters=[
            PathJoinSubstitution([SHARE, "config", "policy_node.yaml"]),
            {"bundle": LaunchConfiguration("bundle"), "task": task, "autostart": False, "lockstep": lockstep, "image_topic": image_topic, **clock},
        ],
        on_exit=Shutdown(reason="the policy node ended"),
    )
    recorder = Node(
        package="cdp_teleop_recorder",
        executable="recorder_node",
        name="cdp_recorder",
        output="screen",
        parameters=[
            PathJoinSubstitution([SHARE, "config", "recorder.yaml"]),
            {"directory": LaunchConfiguration("directory"), "image_topic": image_topic, **clock},
        ],
        on_exit=Shutdown(reason="the recorder ended"),
    )
    teleop = Node(
        package="cdp_teleop_recorder",
        executable="teleop_node",
        name="cdp_teleop",
        output="screen",
        condition=IfCondition(NotEqualsSubstitution(device, "none")),
        parameters=[PathJoinSubstitution([SHARE, "config", "teleop.yaml"]), {"device": device, **clock}],
        on_exit=Shutdown(reason="teleop ended"),
    )
    return LaunchDescription([*arguments, robot, policy, recorder, teleop])
