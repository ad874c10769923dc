"""The nodes that more than one launch file starts. Imports as in launch_parts."""

from __future__ import annotations

from typing import Any

from launch.actions import Shutdown
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from cdp_policy_node.launch_parts import config, expression, values

# MuJoCo in lock-step: simulated time, and every message awaited.
CLOCK = {"use_sim_time": LaunchConfiguration("lockstep"), "reliable": LaunchConfiguration("lockstep")}
_RESPAWN = {"respawn": True, "respawn_delay": 2.0}


def ours(package: str, executable: str, name: str, parameters: list[Any], *, when: str = "", ends_launch: str = "") -> Node:
    """A node of this workspace, started where ``when``, an :func:`expression`, is empty or true; ``ends_launch``: why the launch ends with it."""
    options: dict[str, Any] = {"condition": IfCondition(expression(when))} if when else {}
    if ends_launch:
        options["on_exit"] = Shutdown(reason=ends_launch)
    return Node(package=package, executable=executable, name=name, output="screen", parameters=parameters, **options)


def policy(*, when: str = "", ends_launch: str = "the policy node ended", **parameters: Any) -> Node:
    """The policy node."""
    given = {**values("bundle", "image_topic", "lockstep"), **parameters, **CLOCK}
    files = [config("policy_node.yaml"), given]
    return ours("cdp_policy_node", "policy_node", "cdp_policy", files, when=when, ends_launch=ends_launch)


def recorder(*, when: str = "", ends_launch: str = "the recorder ended", **parameters: Any) -> Node:
    """The recorder."""
    given = {**values("directory", "image_topic"), **parameters, **CLOCK}
    return ours("cdp_teleop_recorder", "recorder_node", "cdp_recorder", [config("recorder.yaml"), given], when=when, ends_launch=ends_launch)


def teleop(*, ends_launch: str = "teleop ended") -> Node:
    """Teleoperation by `device`."""
    given = {**values("device"), **CLOCK}
    files = [config("teleop.yaml"), given]
    return ours("cdp_teleop_recorder", "teleop_node", "cdp_teleop", files, when="{device} != 'none'", ends_launch=ends_launch)


def panel() -> Node:
    """The operator's page. What ends it, a port in use for one, is no reason to end a recording."""
    given = {**values("directory", "image_topic"), "port": LaunchConfiguration("panel_port")}
    return ours("cdp_teleop_recorder", "panel_node", "cdp_panel", [config("recorder.yaml"), given], when="{panel} == 'true'")


def cameras() -> list[Node]:
    """The driver of the agent-view camera that `camera` names, its topics renamed to `image_topic` and the camera_info beside it."""
    image, info = LaunchConfiguration("image_topic"), expression("{image_topic}.rsplit('/', 1)[0] + '/camera_info'")
    return [
        Node(
            package=package,
            executable=executable,
            name="agentview_camera",
            output="screen",
            condition=IfCondition(expression(f"{{camera}} == '{camera}'")),
            parameters=[config(f"camera_{camera}.yaml")],
            remappings=[(f"{prefix}image_raw", image), (f"{prefix}image_raw/compressed", [image, "/compressed"]), (f"{prefix}camera_info", info)],
            **_RESPAWN,
        )
        for camera, package, executable, prefix in (
            ("realsense", "realsense2_camera", "realsense2_camera_node", "~/color/"),
            ("v4l2", "v4l2_camera", "v4l2_camera_node", ""),
        )
    ]


def spacenav() -> Node:
    """ROS's own driver of the SpaceMouse, where `spacenav` is true. Full deflection is 350 counts, as for teleop itself."""
    return Node(
        package="spacenav",
        executable="spacenav_node",
        name="spacenav",
        output="screen",
        parameters=[{"full_scale": 350.0}],
        condition=IfCondition(LaunchConfiguration("spacenav")),
        **_RESPAWN,
    )
