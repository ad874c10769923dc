"""What the driver asks of libfranka, and when: with stand-ins for aiofranka and its robot, which refuse what a robot refuses that is stopped."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from cdp_franka_driver.arm import Mode
from cdp_franka_driver.config import ControlConfig
from cdp_franka_driver.libfranka_arm import LibfrankaArm

STOPPED = 'libfranka: {} command rejected: command not possible in the current mode ("User stopped")!'


class Robot:
    """``mode`` is a test's to set: outside of Idle everything but the state is refused."""

    def __init__(self):
        self.mode, self.asked, self.dropped, self.time_s = "Idle", [], [], 0.0

    def ask(self, command, *values):
        self.asked.append(command)
        if self.mode != "Idle":
            raise RuntimeError(STOPPED.format(command))

    def set_collision_behavior(self, *thresholds):
        self.ask("Set Collision Behavior")

    def set_load(self, *load):
        self.ask("Set Load")

    def start_torque_control(self):
        self.ask("Move")
        return Control(self)

    def stop(self):
        self.ask("Stop")

    def automatic_error_recovery(self):
        self.mode = "Idle"

    def read_once(self):
        self.time_s += 0.001
        time, mode, errors = SimpleNamespace(to_sec=lambda: self.time_s), SimpleNamespace(name=self.mode), SimpleNamespace()
        measured = {"q": np.zeros(7), "dq": np.zeros(7), "tau_J": np.zeros(7), "O_T_EE": np.eye(4).ravel()}
        return SimpleNamespace(
            time=time, robot_mode=mode, current_errors=errors, last_motion_errors=errors, control_command_success_rate=0.0, **measured
        )


class Control:
    """Of a motion: libfranka's asks the robot to stop when it is dropped, and lets a refusal out of its destructor."""

    def __init__(self, robot):
        self._robot = robot

    def __del__(self):
        self._robot.dropped.append(self._robot.mode)


ROBOT = Robot()


class RobotInterface:
    """As aiofranka's: its constructor makes settings of its own."""

    def __init__(self, robot_ip, read_tool):
        if robot_ip == "nobody":
            raise RuntimeError("libfranka: Connection timeout. Please check your network connection or settings.")
        self.torque_controller, self.synced = None, []
        self.robot = ROBOT
        self.robot.set_collision_behavior()
        self.robot.set_load()
        self.sync_mj()
        self.sync_payload()

    def sync_mj(self):
        self.synced.append("state")

    def sync_payload(self):
        self.synced.append("payload")

    def set_load(self, mass):
        self.robot.set_load(mass)

    def start(self):
        self.torque_controller = self.robot.start_torque_control()


class Loop:
    def __init__(self):
        self._running = False

    def running(self):
        return self._running

    def reset_memory(self):
        pass

    def request_stop(self):
        self._running = False

    def join(self):
        pass


class Controller:
    def __init__(self, interface):
        self._loop = Loop()

    def switch(self, law):
        pass

    def _launch(self, fifo_priority):
        self._loop._running = True


@pytest.fixture
def robot(monkeypatch):
    global ROBOT
    ROBOT = Robot()
    parts = {
        "aiofranka": {},
        "aiofranka.native": {"NativeFrankaController": Controller, "control_law": lambda law, **sizes: law},
        "aiofranka.robot": {"RobotInterface": RobotInterface},
        "numba": {"njit": lambda function: function},
    }
    for name, contents in parts.items():
        module = ModuleType(name)
        module.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    return ROBOT


@pytest.fixture
def arm(robot):
    return LibfrankaArm("robot", ControlConfig())


def test_a_robot_that_refuses_settings_is_connected_shown_and_recovered_and_set_before_control(robot):
    """A driver that failed there could neither show what the robot is in nor recover it."""
    robot.mode = "Reflex"
    arm = LibfrankaArm("robot", ControlConfig())
    assert arm.state().mode is Mode.REFLEX
    assert arm._interface.synced == ["state", "payload"]
    robot.asked.clear()
    arm.recover()
    arm.start_control()
    assert robot.asked == ["Set Collision Behavior", "Set Load", "Move"]


def test_settings_that_are_refused_keep_control_from_beginning(robot):
    robot.mode = "UserStopped"
    arm = LibfrankaArm("robot", ControlConfig())
    with pytest.raises(RuntimeError, match="Set Collision Behavior command rejected"):
        arm.start_control()
    assert "Move" not in robot.asked


def test_settings_are_made_once_for_a_connection(robot, arm):
    arm.start_control()
    arm.stop_control()
    robot.asked.clear()
    arm.start_control()
    assert robot.asked == ["Move"]


def test_the_motion_of_a_robot_that_refuses_to_be_stopped_is_kept_until_it_does_not(robot, arm):
    """Dropped earlier it could end the process, by libfranka's sources."""
    arm.start_control()
    robot.mode = "UserStopped"
    for _ in range(2):
        with pytest.raises(RuntimeError, match="Stop command rejected"):
            arm.stop_control()
    assert arm.state().mode is Mode.USER_STOPPED
    assert robot.dropped == []
    robot.mode = "Idle"
    robot.asked.clear()
    arm.start_control()
    assert robot.dropped == ["Idle"]
    assert robot.asked[0] == "Stop"
    assert robot.asked[-1] == "Move"


def test_a_robot_that_is_not_there_is_not_connected(robot):
    with pytest.raises(RuntimeError, match="Connection timeout"):
        LibfrankaArm("nobody", ControlConfig())
