"""What an evaluation runs on: robot (real or MuJoCo), command guard, policy node, recorder, and teleop for takeover. Nothing moves by itself.

cdp eval <bundle> [<bundle> ...] --real --robot-ip 172.16.0.2        starts it and ends it
ros2 launch cdp_policy_node evaluate.launch.py robot_ip:=172.16.0.2  stays; then: cdp eval <bundle> ... --real --attach
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument

from cdp_policy_node.launch_nodes import policy, recorder, teleop
from cdp_policy_node.launch_parts import DEVICES, camera_on_the_arm, robot, robot_arguments, values


def generate_launch_description() -> LaunchDescription:
    arguments = [
        *robot_arguments(camera=camera_on_the_arm()),
        DeclareLaunchArgument("task", default_value="slide", description="Task of the bundles, and of the simulated scene."),
        DeclareLaunchArgument("bundle", default_value="slide", description="First policy bundle; the evaluation loads the others by itself."),
        DeclareLaunchArgument(
            "device",
            default_value="auto",
            choices=DEVICES,
            description="What the operator takes over with (see docs/teleop.md); none leaves teleop out, to be run in a terminal of its own.",
        ),
        DeclareLaunchArgument("directory", default_value="data/evaluation", description="Folder that receives one file an episode."),
    ]
    return LaunchDescription([*arguments, robot(**values("task")), policy(**values("task"), autostart=False), recorder(), teleop()])
