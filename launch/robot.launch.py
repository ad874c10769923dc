"""The robot behind its topics: the real FR3 when robot_ip is given, MuJoCo otherwise. Nothing else changes between the two."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EqualsSubstitution, LaunchConfiguration, NotEqualsSubstitution, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node
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
]


def spawns_trajectory_controller() -> PythonExpression:
    robot_ip, interface, controller = (LaunchConfiguration(name) for name in ("robot_ip", "command_interface", "controller"))
    wanted = ["'", controller, "' == 'joint_trajectory_controller' or ('", controller, "' == 'auto' and '", interface, "' == 'joint')"]
    return PythonExpression(["'", robot_ip, "' != '' and (", *wanted, ")"])


def generate_launch_description() -> LaunchDescription:
    robot_ip = LaunchConfiguration("robot_ip")
    lockstep = LaunchConfiguration("lockstep")
    simulated = EqualsSubstitution(robot_ip, "")
    interface, controller, controllers_yaml = (LaunchConfiguration(name) for name in ("command_interface", "controller", "controllers_yaml"))
    arguments = [
        DeclareLaunchArgument("robot_ip", default_value="", description="Address of the real FR3; empty runs MuJoCo instead."),
        DeclareLaunchArgument("task", default_value="slide", description="Task of the simulated scene."),
        DeclareLaunchArgument("seed", default_value="0", description="Seed of the first simulated scene."),
        DeclareLaunchArgument(
            "lockstep",
            default_value="false",
            choices=["true", "false"],
            description="Simulation only: step as fast as the nodes answer, on /clock, instead of in real time.",
        ),
        DeclareLaunchArgument(
            "command_interface",
            default_value="cartesian",
            choices=["cartesian", "joint"],
            description="What the guard commands: poses of the end effector, or joint positions with velocities.",
        ),
        DeclareLaunchArgument(
            "controller",
            default_value="auto",
            choices=CONTROLLERS,
            description="What takes the commands: see docs/interfaces.md; auto is cartesian_impedance or joint_trajectory_controller.",
        ),
        DeclareLaunchArgument(
            "controllers_yaml",
            default_value=PathJoinSubstitution([SHARE, "config", "controllers_fr3.yaml"]),
            description="Controllers of the real FR3 for franka_bringup.",
        ),
        # An arm never stalls; a simulator that shares a busy machine with its guard does, and nothing can break in it.
        DeclareLaunchArgument(
            "state_timeout_s",
            default_value=PythonExpression(["0.5 if '", robot_ip, "' == '' else 0.1"]),
            description="Age of the robot's states from which the guard faults [s]; 0.1 on the arm, 0.5 in simulation.",
        ),
        DeclareLaunchArgument(
            "source_margin_s",
            default_value=PythonExpression(["0.25 if '", robot_ip, "' == '' else 0.08"]),
            description="Added to a source's promise before the guard holds [s]; 0.08 on the arm, 0.25 in simulation.",
        ),
        DeclareLaunchArgument(
            "max_observation_age_s",
            default_value=PythonExpression(["0.5 if '", robot_ip, "' == '' else 0.3"]),
            description="Age of the newest observation that a source has answered from which the guard holds [s].",
        ),
    ]
    simulator = Node(
        package="cdp_franka_sim",
        executable="sim_node",
        name="cdp_franka_sim",
        output="screen",
        condition=IfCondition(simulated),
        parameters=[
            PathJoinSubstitution([SHARE, "config", "sim.yaml"]),
            {"task": LaunchConfiguration("task"), "seed": LaunchConfiguration("seed"), "lockstep": lockstep},
        ],
        on_exit=Shutdown(reason="the simulator ended"),
    )
    bringup = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([FindPackageShare("franka_bringup"), "launch", "franka.launch.py"])),
        launch_arguments={"robot_ip": robot_ip, "robot_type": "fr3", "load_gripper": "true", "controllers_yaml": controllers_yaml}.items(),
        condition=IfCondition(NotEqualsSubstitution(robot_ip, "")),
    )
    # The one controller that is ours to configure; the guard says how to start the others.
    spawner = Node(
        package="controller_manager",
        executable="spawner",
        output="screen",
        arguments=["fr3_arm_controller", "--controller-manager-timeout", "60"],
        condition=IfCondition(spawns_trajectory_controller()),
    )
    gripper = Node(
        package="cdp_policy_node",
        executable="gripper_node",
        name="cdp_gripper",
        output="screen",
        parameters=[PathJoinSubstitution([SHARE, "config", "gripper.yaml"])],
        condition=IfCondition(NotEqualsSubstitution(robot_ip, "")),
    )
    guard = Node(
        package="cdp_policy_node",
        executable="guard_node",
        name="cdp_guard",
        output="screen",
        parameters=[
            PathJoinSubstitution([SHARE, "config", "guard.yaml"]),
            {
                "command_interface": interface,
                "controller": controller,
                "state_timeout_s": LaunchConfiguration("state_timeout_s"),
                "source_margin_s": LaunchConfiguration("source_margin_s"),
                "max_observation_age_s": LaunchConfiguration("max_observation_age_s"),
                "lockstep": lockstep,
                "use_sim_time": lockstep,
                "reliable": lockstep,
            },
        ],
        on_exit=Shutdown(reason="the command guard ended"),
    )
    return LaunchDescription([*arguments, simulator, bringup, spawner, gripper, guard])
