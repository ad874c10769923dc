"""What is shipped for a real robot: its controllers, the gripper's parameters, the launch file's conditions."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import yaml
from launch import LaunchContext

from cdp.config import from_mapping, to_mapping
from cdp_franka.gripper import GripperConfig
from cdp_franka.limits import FR3
from cdp_policy_node.command.build import NAMES
from cdp_policy_node.command.config import AUTO, TAKES
from cdp_policy_node.command.trajectory import PLUGIN
from cdp_policy_node.gripper_node import GripperNodeConfig
from cdp_policy_node.launch_parts import CONTROLLERS, expression

ROOT = Path(__file__).parents[3]
# joint_trajectory_controller's parameters of jazzy (ros2_controllers 4.42.1) which are set here: a name that it does not know would say nothing.
KNOWN = {"joints", "command_interfaces", "state_interfaces", "allow_nonzero_velocity_at_trajectory_end", "interpolate_from_desired_state"}
KNOWN |= {"cmd_timeout", "gains"}


@pytest.fixture(scope="module")
def controllers():
    return yaml.safe_load((ROOT / "config" / "controllers_fr3.yaml").read_text())["/**"]


def test_the_trajectory_controller_takes_what_the_guard_sends(controllers):
    name = NAMES["joint_trajectory_controller"]
    assert controllers["controller_manager"]["ros__parameters"][name] == {"type": PLUGIN}
    settings = controllers[name]["ros__parameters"]
    assert set(settings) == KNOWN
    assert tuple(settings["joints"]) == FR3.joint_names == tuple(settings["gains"])
    assert settings["command_interfaces"] == ["effort"]
    assert settings["allow_nonzero_velocity_at_trajectory_end"] is settings["interpolate_from_desired_state"] is True
    # Longer than a few late commands at 100 Hz; short, since the last velocity is followed until then.
    assert 0.03 <= settings["cmd_timeout"] <= 0.2
    clamps = np.array([(gains["u_clamp_min"], gains["u_clamp_max"]) for gains in settings["gains"].values()])
    np.testing.assert_array_equal(clamps[:, 1], FR3.torque_max_nm)
    np.testing.assert_array_equal(clamps[:, 0], -FR3.torque_max_nm)


def test_franka_bringup_finds_the_broadcasters_that_it_starts(controllers):
    manager = controllers["controller_manager"]["ros__parameters"]
    assert {"joint_state_broadcaster", "franka_robot_state_broadcaster"} <= set(manager)


def test_the_shipped_gripper_file_says_the_defaults():
    shipped = yaml.safe_load((ROOT / "config" / "gripper.yaml").read_text())["cdp_gripper"]["ros__parameters"]
    node = set(to_mapping(GripperNodeConfig()))
    assert from_mapping(GripperNodeConfig, {k: v for k, v in shipped.items() if k in node}) == GripperNodeConfig()
    assert from_mapping(GripperConfig, {k: v for k, v in shipped.items() if k not in node}) == GripperConfig()


def test_the_launch_files_offer_every_controller():
    assert [AUTO, *TAKES, "franka_driver"] == CONTROLLERS


@pytest.fixture(scope="module")
def robot_launch():
    spec = importlib.util.spec_from_file_location("robot_launch", ROOT / "launch" / "robot.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("robot_ip", "driver", "interface", "controller", "spawned"),
    [
        ("172.16.0.2", "franka_ros2", "joint", "auto", True),
        ("172.16.0.2", "franka_ros2", "joint", "joint_trajectory_controller", True),
        ("172.16.0.2", "franka_ros2", "joint", "crisp_joint", False),
        ("172.16.0.2", "franka_ros2", "cartesian", "auto", False),
        ("172.16.0.2", "libfranka", "joint", "auto", False),
        ("172.16.0.2", "none", "joint", "auto", False),
        ("", "franka_ros2", "joint", "auto", False),
    ],
)
def test_only_our_own_controller_is_spawned_and_only_under_franka_ros2(robot_launch, robot_ip, driver, interface, controller, spawned):
    context = LaunchContext()
    context.launch_configurations.update(robot_ip=robot_ip, driver=driver, command_interface=interface, controller=controller)
    assert expression(robot_launch.SPAWNED).perform(context) == str(spawned)
