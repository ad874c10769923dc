"""Runs the slide policy: robot (real or MuJoCo), command guard and policy node; in simulation also the episodes.

ros2 launch cdp_policy_node franka_slide.launch.py                        five episodes in MuJoCo
ros2 launch cdp_policy_node franka_slide.launch.py robot_ip:=172.16.0.2   on the arm; engage through /cdp/guard/engage
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("cdp_policy_node")
TASK = "slide"


def generate_launch_description() -> LaunchDescription:
    robot_ip = LaunchConfiguration("robot_ip")
    lockstep = LaunchConfiguration("lockstep")
    episodes = LaunchConfiguration("episodes")
    seed = LaunchConfiguration("seed")
    run_episodes = PythonExpression(["'", robot_ip, "' == '' and int('", episodes, "') > 0"])
    # Where no episode runner activates the policy, it activates itself; the guard still refuses until it is engaged.
    autostart = PythonExpression(["not ('", robot_ip, "' == '' and int('", episodes, "') > 0)"])
    arguments = [
        DeclareLaunchArgument("robot_ip", default_value="", description="Address of the real FR3; empty runs MuJoCo instead."),
        DeclareLaunchArgument("bundle", default_value=TASK, description="Policy bundle: a folder, or the name of one that is installed."),
        DeclareLaunchArgument("steps", default_value="3", description="Sampling steps of the policy's diffusion sampler (1 or more)."),
        DeclareLaunchArgument("solver", default_value="ddim", choices=["ddim", "dpmpp_2m"], description="Solver of the sampler."),
        DeclareLaunchArgument(
            "backend", default_value="openvino", choices=["openvino", "onnxruntime"], description="Inference engine of the policy node."
        ),
        DeclareLaunchArgument("temperature", default_value="1.0", description="Standard deviation of the policy's initial noise, 0.0 to 2.0."),
        DeclareLaunchArgument("image_topic", default_value="/agentview/image_raw", description="Topic of the agent-view camera's images."),
        DeclareLaunchArgument("command_interface", default_value="cartesian", choices=["cartesian", "joint"], description="What the guard commands."),
        DeclareLaunchArgument("controller", default_value="auto", description="What takes the commands: see robot.launch.py and docs/interfaces.md."),
        DeclareLaunchArgument(
            "lockstep", default_value="false", choices=["true", "false"], description="Simulation only: as fast as the nodes answer."
        ),
        DeclareLaunchArgument("episodes", default_value="5", description="Simulation only: episodes to run before the launch ends; 0 runs none."),
        DeclareLaunchArgument("seed", default_value="100000", description="Scene seed of the first episode, one more for each that follows."),
        DeclareLaunchArgument("timeout_s", default_value="25.0", description="Simulation only: time limit of an episode [s]."),
        DeclareLaunchArgument("output", default_value="runs/slide", description="Folder for results.json, the video and the contact sheet."),
    ]
    robot = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "robot.launch.py"])),
        launch_arguments={
            "robot_ip": robot_ip,
            "task": TASK,
            "seed": seed,
            "lockstep": lockstep,
            "command_interface": LaunchConfiguration("command_interface"),
            "controller": LaunchConfiguration("controller"),
        }.items(),
    )
    policy = Node(
        package="cdp_policy_node",
        executable="policy_node",
        name="cdp_policy",
        output="screen",
        parameters=[
            PathJoinSubstitution([SHARE, "config", "policy_node.yaml"]),
            {
                "bundle": LaunchConfiguration("bundle"),
                "task": TASK,
                "autostart": autostart,
                "steps": LaunchConfiguration("steps"),
                "solver": LaunchConfiguration("solver"),
                "backend": LaunchConfiguration("backend"),
                "temperature": LaunchConfiguration("temperature"),
                "image_topic": LaunchConfiguration("image_topic"),
                "use_sim_time": lockstep,
                "lockstep": lockstep,
                "reliable": lockstep,
            },
        ],
        on_exit=Shutdown(reason="the policy node ended"),
    )
    runner = Node(
        package="cdp_franka_sim",
        executable="episode_runner",
        name="cdp_episode_runner",
        output="screen",
        condition=IfCondition(run_episodes),
        parameters=[
            {
                "mode": "policy",
                "episodes": episodes,
                "seed": seed,
                "timeout_s": LaunchConfiguration("timeout_s"),
                "output": LaunchConfiguration("output"),
                "use_sim_time": lockstep,
            }
        ],
        on_exit=Shutdown(reason="the episodes are done"),
    )
    return LaunchDescription([*arguments, robot, policy, runner])
