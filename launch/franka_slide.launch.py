"""Runs the slide policy: robot (real or MuJoCo), command guard and policy node; in simulation also the episodes.

ros2 launch cdp_policy_node franka_slide.launch.py                        five episodes in MuJoCo
ros2 launch cdp_policy_node franka_slide.launch.py robot_ip:=172.16.0.2   on the arm: nothing moves by itself

On the arm it starts neither teleop nor recorder, and the policy stays inactive: an engaged guard and an active policy move the arm, and no deadman
takes over. With both it is bringup.launch.py. `ros2 lifecycle set /cdp_policy configure`, then `activate`; engage through /cdp/guard/engage.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration

from cdp_policy_node.launch_nodes import ours, policy
from cdp_policy_node.launch_parts import SIMULATED, camera_on_the_arm, expression, robot, robot_arguments, values

TASK = "slide"
RUNS_EPISODES = f"{SIMULATED} and int({{episodes}}) > 0"


def generate_launch_description() -> LaunchDescription:
    arguments = [
        *robot_arguments(camera=camera_on_the_arm()),
        DeclareLaunchArgument("bundle", default_value=TASK, description="Policy bundle: a folder, or the name of one that is installed."),
        DeclareLaunchArgument("steps", default_value="3", description="Sampling steps of the policy's diffusion sampler (1 or more)."),
        DeclareLaunchArgument("solver", default_value="ddim", choices=["ddim", "dpmpp_2m"], description="Solver of the sampler."),
        DeclareLaunchArgument(
            "backend", default_value="openvino", choices=["openvino", "onnxruntime"], description="Inference engine of the policy node."
        ),
        DeclareLaunchArgument("temperature", default_value="1.0", description="Standard deviation of the policy's initial noise, 0.0 to 2.0."),
        DeclareLaunchArgument("episodes", default_value="5", description="Simulation only: episodes to run before the launch ends; 0 runs none."),
        DeclareLaunchArgument("seed", default_value="100000", description="Scene seed of the first episode, one more for each that follows."),
        DeclareLaunchArgument("timeout_s", default_value="25.0", description="Simulation only: time limit of an episode [s]."),
        DeclareLaunchArgument("output", default_value="runs/slide", description="Folder for results.json, the video and the contact sheet."),
    ]
    serving = policy(
        task=TASK,
        # In simulation the policy activates itself where no episode runner does; on the arm a person activates it.
        autostart=expression(f"{SIMULATED} and not ({RUNS_EPISODES})"),
        **values("steps", "solver", "backend", "temperature"),
    )
    runner = ours(
        "cdp_franka_sim",
        "episode_runner",
        "cdp_episode_runner",
        [{"mode": "policy", **values("episodes", "seed", "timeout_s", "output"), "use_sim_time": LaunchConfiguration("lockstep")}],
        when=RUNS_EPISODES,
        ends_launch="the episodes are done",
    )
    return LaunchDescription([*arguments, robot(task=TASK, **values("seed")), serving, runner])
