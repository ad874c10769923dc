"""Replays one demonstration through the guard: robot (real or MuJoCo), command guard and the replay node.

ros2 launch cdp_policy_node replay.launch.py file:=data/slide/demos.hdf5 demo:=demo_3
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration

from cdp_policy_node.launch_nodes import ours
from cdp_policy_node.launch_parts import robot, robot_arguments, values


def generate_launch_description() -> LaunchDescription:
    arguments = [
        *robot_arguments(),
        DeclareLaunchArgument("file", default_value="data/slide/demos.hdf5", description="File of demonstrations."),
        DeclareLaunchArgument("demo", default_value="demo_0", description="Demonstration to replay."),
        DeclareLaunchArgument("task", default_value="slide", description="Task of the simulator."),
        DeclareLaunchArgument("seed", default_value="0", description="Scene seed that the simulator starts with."),
        DeclareLaunchArgument(
            "reset", default_value="true", choices=["true", "false"], description="Simulation only: the demonstration's own scene."
        ),
        DeclareLaunchArgument("engage", default_value="true", choices=["true", "false"], description="Engage the guard; false waits until you do."),
        DeclareLaunchArgument("output", default_value="runs/replay", description="Folder for results.json."),
    ]
    replay = ours(
        "cdp_teleop_recorder",
        "replay_node",
        "cdp_replay",
        [{**values("file", "demo", "output", "reset", "engage"), "use_sim_time": LaunchConfiguration("lockstep")}],
        ends_launch="the replay ended",
    )
    return LaunchDescription([*arguments, robot(**values("task", "seed")), replay])
