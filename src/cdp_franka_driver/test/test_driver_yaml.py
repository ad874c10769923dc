"""The shipped settings are the defaults, by name."""

from pathlib import Path

import yaml

from cdp.config import from_mapping, to_mapping
from cdp_franka.gripper import GripperConfig
from cdp_franka_driver.config import ControlConfig
from cdp_franka_driver.driver_node import DriverConfig
from cdp_franka_driver.hand_node import HandConfig
from cdp_franka_driver.targets import TargetConfig

FILE = Path(__file__).parents[3] / "config/driver.yaml"


def test_the_shipped_file_says_the_defaults():
    shipped = yaml.safe_load(FILE.read_text())
    for node, kinds in {"franka_driver": (DriverConfig, ControlConfig, TargetConfig), "franka_hand": (HandConfig, GripperConfig)}.items():
        left = shipped[node]["ros__parameters"]
        for kind in kinds:
            own = {key: left.pop(key) for key in to_mapping(kind())}
            assert from_mapping(kind, own) == kind()
        assert left == {}
