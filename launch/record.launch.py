"""Records demonstrations: robot (real or MuJoCo), command guard, teleop and recorder; in simulation a scripted operator may hold the SpaceMouse.

ros2 launch cdp_policy_node record.launch.py                                   a person with a SpaceMouse or a gamepad
ros2 launch cdp_policy_node record.launch.py operator:=scripted episodes:=120  the scripted operator, as fast as the nodes answer
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration

from cdp_policy_node.launch_nodes import ours, panel, recorder, teleop
from cdp_policy_node.launch_parts import DEVICES, camera_on_the_arm, expression, robot, robot_arguments, values

SCRIPTED = "{operator} == 'scripted'"


def generate_launch_description() -> LaunchDescription:
    arguments = [
        *robot_arguments(camera=camera_on_the_arm()),
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
            default_value=expression(f"'spacenav' if {SCRIPTED} else 'auto'"),
            choices=DEVICES,
            description="What moves the arm (see docs/teleop.md); none leaves teleop out, to be run in a terminal of its own.",
        ),
        DeclareLaunchArgument("episodes", default_value="3", description="Scripted operator only: episodes to keep before the launch ends."),
        DeclareLaunchArgument("seed", default_value="0", description="Scripted operator only: scene seed of the first episode."),
        DeclareLaunchArgument("timeout_s", default_value="25.0", description="Scripted operator only: time limit of an episode [s]."),
        DeclareLaunchArgument("directory", default_value="data/episodes", description="Folder that receives one file an episode."),
        # The scripted operator works as fast as the machine goes and looks at nothing.
        DeclareLaunchArgument(
            "panel",
            default_value=expression(f"'false' if {SCRIPTED} else 'true'"),
            choices=["true", "false"],
            description="Whether to serve the operator's page (see docs/panel.md); on unless the operator is scripted.",
        ),
        DeclareLaunchArgument("panel_port", default_value="8090", description="Port of the operator's page at 127.0.0.1."),
        DeclareLaunchArgument("output", default_value="runs/record", description="Scripted operator only: folder for results.json and the video."),
    ]
    clock = {"use_sim_time": LaunchConfiguration("lockstep")}
    operator = ours(
        "cdp_franka_sim",
        "scripted_operator",
        "cdp_scripted_operator",
        [{**values("task"), **clock}],
        when=SCRIPTED,
        ends_launch="the scripted operator ended",
    )
    runner = ours(
        "cdp_franka_sim",
        "episode_runner",
        "cdp_episode_runner",
        [{"mode": "record", **values("task", "episodes", "seed", "timeout_s", "output"), **clock}],
        when=SCRIPTED,
        ends_launch="the episodes are done",
    )
    return LaunchDescription([*arguments, robot(**values("task", "seed")), teleop(), recorder(**values("task")), panel(), operator, runner])
