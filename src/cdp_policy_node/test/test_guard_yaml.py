from pathlib import Path

import pytest
import yaml

from cdp.config import from_mapping, to_mapping
from cdp_franka.guard_config import GuardConfig
from cdp_policy_node.command.config import CommandConfig
from cdp_policy_node.guard_node import GuardNodeConfig

CONFIG = Path(__file__).parents[3] / "config"
BOX = ("workspace_x_m", "workspace_y_m", "workspace_z_m", "table_z_m")


def parameters(name, node):
    return yaml.safe_load((CONFIG / name).read_text())[node]["ros__parameters"]


def test_the_shipped_file_says_the_defaults():
    shipped = parameters("guard.yaml", "cdp_guard")
    core, command, node = (set(to_mapping(kind())) for kind in (GuardConfig, CommandConfig, GuardNodeConfig))
    assert not (core & node or core & command or command & node)
    assert from_mapping(GuardConfig, {k: v for k, v in shipped.items() if k in core}) == GuardConfig()
    assert from_mapping(CommandConfig, {k: v for k, v in shipped.items() if k in command}) == CommandConfig()
    assert from_mapping(GuardNodeConfig, {k: v for k, v in shipped.items() if k not in core | command}) == GuardNodeConfig()


@pytest.mark.parametrize("key", BOX)
def test_the_operator_is_recorded_within_the_guards_box(key):
    assert parameters("guard.yaml", "cdp_guard")[key] == parameters("teleop.yaml", "cdp_teleop")[key]


def test_the_operators_leash_is_the_shorter_one():
    guard, teleop = parameters("guard.yaml", "cdp_guard"), parameters("teleop.yaml", "cdp_teleop")
    assert teleop["leash_m"] < guard["leash_m"]
    assert teleop["leash_rad"] < guard["leash_rad"]
    assert teleop["linear_scale_m_s"] < guard["linear_speed_m_s"]
    assert teleop["angular_scale_rad_s"] < guard["angular_speed_rad_s"]
