"""Everything around a policy, for a working day: robot, guard, gripper, camera, SpaceMouse, recorder and the operator's page; a policy too if named.

ros2 launch cdp_policy_node bringup.launch.py robot_ip:=172.16.0.2                                    franka_ros2, a RealSense
ros2 launch cdp_policy_node bringup.launch.py robot_ip:=172.16.0.2 camera:=v4l2 bundle:=models/slide  a webcam; then cdp eval ... --attach

Unlike the other files it stays up where recorder, teleop or policy end; it ends with the guard, or with the arm's driver. `cdp doctor` looks at the
machine before, `cdp camera-check` at the camera.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument

from cdp_policy_node.launch_nodes import panel, policy, recorder, spacenav, teleop
from cdp_policy_node.launch_parts import DEVICES, camera_on_the_arm, expression, require, robot, robot_arguments, values


def switch(name: str, default: object, description: str) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(name, default_value=default, choices=["true", "false"], description=description)


def generate_launch_description() -> LaunchDescription:
    arguments = [
        *robot_arguments(camera=camera_on_the_arm()),
        DeclareLaunchArgument("task", default_value="slide", description="Task of the recordings, and of the simulated scene."),
        DeclareLaunchArgument("bundle", default_value="", description="Policy bundle to serve too, inactive until it is activated; empty: none."),
        switch("spacenav", "false", "Whether to start ROS's driver of the SpaceMouse; without it teleop reads the device itself."),
        DeclareLaunchArgument(
            "device",
            default_value=expression("'spacenav' if {spacenav} == 'true' else 'auto'"),
            choices=DEVICES,
            description="What moves the arm (see docs/teleop.md); none leaves teleop out, to be run in a terminal of its own.",
        ),
        switch("recorder", "true", "Whether to start the recorder."),
        DeclareLaunchArgument("directory", default_value="data/episodes", description="Folder that receives one file an episode."),
        switch("panel", "true", "Whether to serve the operator's page (see docs/panel.md)."),
        DeclareLaunchArgument("panel_port", default_value="8090", description="Port of the operator's page at 127.0.0.1."),
    ]
    return LaunchDescription(
        [
            *arguments,
            require("{spacenav} == 'true'", {"spacenav": "sudo apt-get install ros-$ROS_DISTRO-spacenav, or leave out spacenav:=true"}),
            robot(**values("task")),
            spacenav(),
            teleop(ends_launch=""),
            recorder(when="{recorder} == 'true'", ends_launch="", **values("task")),
            panel(),
            policy(when="{bundle} != ''", ends_launch="", autostart=False, **values("task")),
        ]
    )
