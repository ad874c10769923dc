"""Replays one demonstration through the guard: robot (real or MuJoCo), command guard and the replay node.

On the arm the scene is yours to put, and nothing moves before you engage the guard through /cdp/guard/engage.

ros2 launch cdp_policy_node replay.launch.py file:=data/slide/demos.hdf5 demo:=demo_3
ros2 launch cdp_policy_node replay.launch.py robot_ip:=172.16.0.2 file:=data/slide.hdf5
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration

from cdp_policy_node.launch_nodes import ours
from cdp_policy_node.launch_parts import SIMULATED, expression, robot, robot_arguments, values

# Whether the scene is put back and the guard engaged without a person.
BY_ITSELF = f"'true' if {SIMULATED} else 'false'"


def generate_launch_description() -> LaunchDescription:
    arguments = [
        *robot_arguments(),
        DeclareLaunchArgument("file", default_value="data/slide/demos.hdf5", description="File of demonstrations."),
        DeclareLaunchArgument("demo", default_value="demo_0", description="Demonstration to replay."),
        DeclareLaunchArgument("task", default_value="slide", description="Task of the simulator."),
        DeclareLaunchArgument("seed", default_value="0", description="Scene seed that the simulator starts with."),
        DeclareLaunchArgument(
            "reset",
            default_value=expression(BY_ITSELF),
            choices=["true", "false"],
            description="Put the demonstration's own scene back first: in simulation only, the default there.",
        ),
        DeclareLaunchArgument(
            "engage",
            default_value=expression(BY_ITSELF),
            choices=["true", "false"],
            description="Engage the guard; false, the default on the arm, waits until you do.",
        ),
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
