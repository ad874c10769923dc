"""What the tests of this package share."""

import pytest
import robot_interfaces


@pytest.fixture(scope="session")
def robot_environment() -> dict[str, str]:
    """franka_msgs, moveit_msgs and controller_manager_msgs can be imported; the environment for child processes that need them too."""
    return robot_interfaces.environment()
