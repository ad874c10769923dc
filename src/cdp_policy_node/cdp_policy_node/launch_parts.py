"""What the launch files share: the arguments that mean the same in each of them, the robot behind them, and refusals that say what to do.

Imported by `ros2 launch` under whatever interpreter it has: only the launch system and the standard library may be imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("cdp_policy_node")
CONTROLLERS = [
    "auto",
    "joint_trajectory_controller",
    "cartesian_impedance",
    "crisp_pose",
    "crisp_joint",
    "forward_position",
    "servo_twist",
    "servo_pose",
    "franka_driver",
]
DRIVERS = ["franka_ros2", "libfranka", "none"]
CAMERAS = ["realsense", "v4l2", "none"]
DEVICES = ["auto", "spacenavd", "hidraw", "spacenav", "joy", "none"]
# Where MuJoCo stands in for the arm: an expression, see below.
SIMULATED = "{robot_ip} == '' and {driver} != 'none'"
# Joints are commanded on the arm unless the controller takes poses: franka_ros2's own Cartesian impedance moves by itself (docs/robot.md).
_CARTESIAN = "('cartesian_impedance', 'crisp_pose', 'servo_twist', 'servo_pose')"
_INTERFACE = f"'joint' if {{robot_ip}} != '' and {{driver}} != 'libfranka' and {{controller}} not in {_CARTESIAN} else 'cartesian'"
# The arguments of robot.launch.py which every file that includes it declares too.
OF_THE_ROBOT = ("robot_ip", "driver", "command_interface", "controller", "camera", "image_topic", "lockstep")


class MissingError(RuntimeError):
    """Something that a launch argument asks for is not installed, or two arguments contradict each other; the message says what to do."""


def config(name: str) -> PathJoinSubstitution:
    """Path of one of the files in config/."""
    return PathJoinSubstitution([SHARE, "config", name])


def values(*names: str) -> dict[str, LaunchConfiguration]:
    """The launch arguments of these names, as parameters or arguments of the same names."""
    return {name: LaunchConfiguration(name) for name in names}


def expression(text: str) -> PythonExpression:
    """A Python expression in which `{name}` stands for the quoted value of that launch argument: ``expression("{robot_ip} != ''")``."""
    parts: list[object] = []
    for piece in text.replace("{", "\0{").replace("}", "\0").split("\0"):
        parts += ["'", LaunchConfiguration(piece[1:]), "'"] if piece.startswith("{") else [piece]
    return PythonExpression(parts)


def camera_on_the_arm() -> PythonExpression:
    """Default of `camera` where a policy, a recorder or a person looks: the RealSense on the arm, MuJoCo's own otherwise."""
    return expression("'none' if {robot_ip} == '' else 'realsense'")


def robot_arguments(camera: object = "none") -> list[DeclareLaunchArgument]:
    """The arguments ``OF_THE_ROBOT``, with the default of `camera`."""
    return [
        DeclareLaunchArgument("robot_ip", default_value="", description="Address of the real FR3; empty runs MuJoCo instead."),
        DeclareLaunchArgument(
            "driver",
            default_value="franka_ros2",
            choices=DRIVERS,
            description="What talks to the arm at robot_ip (see docs/bringup.md); none: nothing is started, neither driver nor MuJoCo.",
        ),
        DeclareLaunchArgument(
            "controller",
            default_value="auto",
            choices=CONTROLLERS,
            description="What takes the commands: see docs/interfaces.md; auto: by command_interface, or the libfranka driver.",
        ),
        DeclareLaunchArgument(
            "command_interface",
            default_value=expression(_INTERFACE),
            choices=["cartesian", "joint"],
            description="What the guard commands: poses of the end effector, or joint positions with velocities; on the arm joint, in simulation, "
            "with libfranka and for controllers of poses cartesian.",
        ),
        DeclareLaunchArgument(
            "camera", default_value=camera, choices=CAMERAS, description="Driver of the agent-view camera; none: it runs already, or is MuJoCo's."
        ),
        DeclareLaunchArgument("image_topic", default_value="/agentview/image_raw", description="Topic of the agent-view camera's images."),
        DeclareLaunchArgument(
            "lockstep",
            default_value="false",
            choices=["true", "false"],
            description="Simulation only: step as fast as the nodes answer, on /clock, instead of in real time.",
        ),
    ]


def robot(**more: object) -> IncludeLaunchDescription:
    """robot.launch.py, with the arguments ``OF_THE_ROBOT`` and ``more``."""
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "robot.launch.py"])),
        launch_arguments={**values(*OF_THE_ROBOT), **more}.items(),
    )


def require(when: str, packages: Mapping[str, str], files: Sequence[str] = ()) -> OpaqueFunction:
    """End the launch before it starts anything where ``when``, an :func:`expression`, is true and one of ``packages`` is not installed.

    ``packages``: what to do about each; ``files``: paths within this package's share that have to be there too. Raises :class:`MissingError` as
    the launch runs.
    """

    def check(context: LaunchContext) -> None:
        if expression(when).perform(context) != "True":
            return
        for package, fix in packages.items():
            try:
                get_package_prefix(package)
            except PackageNotFoundError:
                raise MissingError(f"package '{package}' is not installed, or its workspace is not sourced: {fix}") from None
        for name in files:
            if not (Path(get_package_share_directory("cdp_policy_node")) / name).is_file():
                raise MissingError(f"{name} is not installed in the share of cdp_policy_node: build this workspace anew (`make build`)")

    return OpaqueFunction(function=check)


def refuse(when: str, why: str) -> OpaqueFunction:
    """End the launch before it starts anything where ``when``, an :func:`expression`, is true. Raises :class:`MissingError` as the launch runs."""

    def check(context: LaunchContext) -> None:
        if expression(when).perform(context) == "True":
            raise MissingError(why)

    return OpaqueFunction(function=check)
