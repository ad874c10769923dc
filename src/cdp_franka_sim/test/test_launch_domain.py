"""On which ROS domain a command runs a launch file; a stand-in for `ros2` tells."""

import pytest

from cdp_franka_sim.ros_launch import run_launch_file


@pytest.fixture
def domain_of(tmp_path, monkeypatch):
    told = tmp_path / "told"
    ros2 = tmp_path / "ros2"
    ros2.write_text(f'#!/bin/sh\necho "${{ROS_DOMAIN_ID-unset}}" > {told}\n')
    ros2.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)

    def run(**arguments):
        assert run_launch_file("a_package", "a.launch.py", arguments) == 0
        return told.read_text().strip()

    return run


def test_a_run_in_simulation_has_a_domain_of_its_own(domain_of):
    assert domain_of(task="slide").isdigit()


def test_the_arm_is_where_other_terminals_are(domain_of):
    """Catches a guard on the arm that nobody can engage from a second terminal."""
    assert domain_of(robot_ip="172.16.0.2") == "unset"
