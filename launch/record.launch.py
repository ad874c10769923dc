"""Records demonstrations: robot (real or MuJoCo), command guard, teleop and recorder; in simulation a scripted operator may hold the SpaceMouse.

ros2 launch cdp_policy_node record.launch.py                                   a person with a SpaceMouse or a gamepad
ros2 launch cdp_policy_node record.launch.py operator:=scripted episodes:=120  the scripted operator, as fast as the nodes answer
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EqualsSubstitution, LaunchConfiguration, NotEqualsSubstitution, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("cdp_policy_node")


def generate_launch_description() -> LaunchDescription:
    lockstep = LaunchConfiguration("lockstep")
    seed = LaunchConfiguration("seed")
    task = LaunchConfiguration("task")
    device = LaunchConfiguration("device")
    scripted = IfCondition(EqualsSubstitution(LaunchConfiguration("operator"), "scripted"))
    arguments = [
        DeclareLaunchArgument("robot_ip", default_value="", description="Address of the real FR3; empty runs MuJoCo instead."),
        DeclareLaunchArgument("task", default_value="slide", description="Task to record; written into each episode."),
        DeclareLaunchArgument(
            "operator",
            default_value="person",
            choices=["person", "scripted"],
            description="Who moves the device: a person, or in simulation the scripted operator on the spacenav topics.",
        ),
        # Keys go to the foreground of a terminal, which a node under a launch file is not: there teleop runs on its own.
        DeclareLaunchArgument(
            "device",
            default_value=PythonExpression(["'spacenav' if '", LaunchConfiguration("operator"), "' == 'scripted' else 'auto'"]),
            choices=["auto", "spacenavd", "hidraw", "spacenav", "joy", "none"],
            description="What moves the arm (see docs/teleop.md); none leaves teleop out, to be run in a terminal of its own.",
        ),
        DeclareLaunchArgument(
            "lockstep", default_value="false", choices=["true", "false"], description="Simulation only: as fast as the nodes answer."
        ),
        DeclareLaunchArgument("episodes", default_value="3", description="Scripted operator only: episodes to keep before the launch ends."),
        DeclareLaunchArgument("seed", default_value="0", description="Scripted operator only: scene seed of the first episode."),
        DeclareLaunchArgument("timeout_s", default_value="25.0", description="Scripted operator only: time limit of an episode [s]."),
        DeclareLaunchArgument("image_topic", default_value="/agentview/image_raw", description="Topic of the agent-view camera's images."),
        DeclareLaunchArgument("directory", default_value="data/episodes", description="Folder that receives one file an episode."),
        # The scripted operator works as fast as the machine goes and looks at nothing.
        DeclareLaunchArgument(
            "panel",
            default_value=PythonExpression(["'false' if '", LaunchConfiguration("operator"), "' == 'scripted' else 'true'"]),
            choices=["true", "false"],
            description="Whether to serve the operator's page (see docs/panel.md); on unless the operator is scripted.",
        ),
        DeclareLaunchArgument("panel_port", default_value="8090", description="Port of the operator's page at 127.0.0.1."),
        DeclareLaunchArgument("output", default_value="runs/record", description="Scripted operator only: folder for results.json and the video."),
    ]
    robot = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "robot.launch.py"])),
        launch_arguments={"robot_ip": LaunchConfiguration("robot_ip"), "task": task, "seed": seed, "lockstep": lockstep}.items(),
    )
    teleop = Node(
        package="cdp_teleop_recorder",
        executable="teleop_node",
        name="cdp_teleop",
        output="screen",
        condition=IfCondition(NotEqualsSubstitution(device, "none")),
        parameters=[PathJoinSubstitution([SHARE, "config", "teleop.yaml"]), {"device": device, "use_sim_time": lockstep, "reliable": lockstep}],
        on_exit=Shutdown(reason="teleop ended"),
    )
    recorder = Node(
        package="cdp_teleop_recorder",
        executable="recorder_node",
        name="cdp_recorder",
        output="screen",
        parameters=[
            PathJoinSubstitution([SHARE, "config", "recorder.yaml"]),
            {
                "directory": LaunchConfiguration("directory"),
                "image_topic": LaunchConfiguration("image_topic"),
                "task": task,
                "use_sim_time": lockstep,
                "reliable": lockstep,
            },
        ],
        on_exit=Shutdown(reason="the recorder ended"),
    )
    # What ends the panel, a port in use for one, is no reason to end a recording.
    panel = Node(
        package="cdp_teleop_recorder",
        executable="panel_node",
        name="cdp_panel",
        output="screen",
        condition=IfCondition(LaunchConfiguration("panel")),
        parameters=[
            PathJoinSubstitution([SHARE, "config", "recorder.yaml"]),
            {
                "directory": LaunchConfiguration("directory"),
                "image_topic": LaunchConfiguration("image_topic"),
                "port": LaunchConfiguration("panel_port"),
            },
        ],
    )
    operator = Node(
        package="cdp_franka_sim",
        executable="scripted_operator",
        name="cdp_scripted_operator",
        output="screen",
        condition=scripted,
        parameters=[{"task": task, "use_sim_time": lockstep}],
        on_exit=Shutdown(reason="the scripted operator ended"),
    )
    runner = Node(
        package="cdp_franka_sim",
        executable="episode_runner",
        name="cdp_episode_runner",
        output="screen",
        condition=scripted,
        parameters=[
            {
                "mode": "record",
                "task": task,
                "episodes": LaunchConfiguration("episodes"),
                "seed": seed,
                "timeout_s": LaunchConfiguration("timeout_s"),
                "output": LaunchConfiguration("output"),
                "use_sim_time": lockstep,
            }
        ],
        on_exit=Shutdown(reason="the episodes are done"),
    )
    return LaunchDescription([*arguments, robot, teleop, recorder, panel, operator, runner])
