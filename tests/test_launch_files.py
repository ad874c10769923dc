"""The launch files as a user meets them: every argument is listed with a description, a wrong one is refused before anything starts."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
# Each of them can reach the arm.
LAUNCH_FILES = sorted(path.name for path in (ROOT / "launch").glob("*.launch.py"))
OF_THE_ROBOT = {"robot_ip", "driver", "command_interface", "controller", "camera", "image_topic", "lockstep"}


def _ros2(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ros2", "launch", "cdp_policy_node", *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("launch_file", LAUNCH_FILES)
def test_every_argument_is_described(launch_file):
    shown = _ros2(launch_file, "--show-args")
    assert shown.returncode == 0, shown.stderr
    blocks = re.split(r"\n(?=\s*'\w+':)", shown.stdout)
    arguments = {m.group(1): block for block in blocks if (m := re.match(r"\s*'(\w+)':", block))}
    assert set(arguments) >= OF_THE_ROBOT
    for name, block in arguments.items():
        text = block.split(":", 1)[1].strip()
        assert len(text.splitlines()[0].strip()) > 15, f"{launch_file}: {name} has no description"
        assert "(default" in block


def test_a_value_outside_the_choices_is_refused():
    refused = _ros2("franka_slide.launch.py", "backend:=abacus")
    assert refused.returncode != 0
    assert "abacus" in refused.stdout + refused.stderr


def test_no_controller_of_the_arm_is_one_of_franka_s_examples():
    """They move by themselves once they are active, and the spawner takes any name that this file has."""
    manager = yaml.safe_load((ROOT / "config/controllers_fr3.yaml").read_text(encoding="utf-8"))["/**"]["controller_manager"]["ros__parameters"]
    types = {value["type"] for value in manager.values() if isinstance(value, dict) and "type" in value}
    assert len(types) == 3 and not any("example" in name.lower() for name in types)
