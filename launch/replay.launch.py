"""Replays one demonstration through the guard: robot (real or MuJoCo), command guard and the replay node.

ros2 launch cdp_policy_node replay.launch.py file:=data/slide/demos.hdf5 demo:=demo_3
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("cdp_policy_node")


def generate_launch_description() -> LaunchDescription:
    lockstep = LaunchConfiguration("lockstep")
    arguments = [
        DeclareLaunchArgument("robot_ip", default_value="", description="Address of the real FR3; empty runs MuJoCo instead."),
        DeclareLaunchArgument("file", default_value="data/slide/demos.hdf5", description="File of demonstrations."),
        DeclareLaunchArgument("demo", default_value="demo_0", description="Demonstration to replay."),
        DeclareLaunchArgument("task", default_value="slide", description="Task of the simulator."),
        DeclareLaunchArgument("seed", default_value="0", description="Scene seed that the simulator starts with."),
        DeclareLaunchArgument(
            "lockstep", default_value="false", choices=["true", "false"], description="Simulation only: as fast as the nodes answer."
        ),
        DeclareLaunchArgument(
            "reset", default_value="true", choices=["true", "false"], description="Simulation only: the demonstration's own scene."
        ),
        DeclareLaunchArgument("engage", default_value="true", choices=["true", "false"], description="Engage the guard; false waits until you do."),
        DeclareLaunchArgument("output", default_value="runs/replay", description="Folder for results.json."),
    ]
    robot = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "robot.launch.py"])),
        launch_arguments={
            "robot_ip": LaunchConfiguration("robot_ip"),
            "task": LaunchConfiguration("task"),
            "seed": LaunchConfiguration("seed"),
            "lockstep": lockstep,
        }.items(),
    )
    replay = Node(
        package="cdp_teleop_recorder",
        executable="replay_node",
        name="cdp_replay",
        output="screen",
        parameters=[{**{name: LaunchConfiguration(name) for name in ("file", "demo", "output", "reset", "engage")}, "use_sim_time": lockstep}],
        on_exit=Shutdown(reason="the replay ended"),
    )
    return LaunchDescription([*arguments, robot, replay])
