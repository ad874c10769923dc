"""A robot behind the driver's small interface: it follows the loop's reference exactly and breaks where a test wants it to."""

import ctypes
import time
from types import SimpleNamespace

import numpy as np

from cdp_franka.kinematics import forward
from cdp_franka_driver import joint_impedance
from cdp_franka_driver.arm import ArmState, Mode
from cdp_franka_driver.config import ControlConfig

READY = np.array([0.0, -0.2, 0.0, -2.3, 0.0, 2.1, np.pi / 4])


def shape(sizes):
    """Zeros by name, as the C++ loop gives them to a law."""
    return SimpleNamespace(**{name: np.zeros(size) for name, size in sizes.items()})


def as_it_is(function):
    """Instead of Numba's compiler."""
    return function


class FakeArm:
    """See :class:`cdp_franka_driver.arm.Arm`. ``mode``, ``end_with`` and ``refuse`` are a test's to set."""

    def __init__(self, robot_ip="fake", config=None):
        self.q, self.mode, self.errors, self.last_errors = READY.copy(), Mode.IDLE, (), ()
        self.end_with, self.refuse, self.text, self.recoveries, self.starts = "", None, "", 0, 0
        self.time_s, self._running, self._config = 0.0, False, config or ControlConfig()
        self._law = joint_impedance.make_law(as_it_is)
        self._p = shape(joint_impedance.PARAMETERS)
        for name, value in self._config.parameters().items():
            getattr(self._p, name)[:] = value

    def state(self):
        if self._running and not self.end_with:
            for _ in range(10):
                self.time_s += 0.001
                state = SimpleNamespace(qpos=self.q, qvel=np.zeros(7), mm=np.eye(7), time=self.time_s)
                self._law(state, self._p, self._m, np.zeros(7))
                self.q = self._m.q.copy()
        else:
            self.time_s += 0.01
        ee = np.eye(4)
        ee[:3, 3], ee[:3, :3] = forward(self.q)
        mode = Mode.MOVE if self.controlling() else self.mode
        desired = self._m.q.copy() if self.controlling() else None
        return ArmState(
            time.time_ns(), self.time_s, mode, self.q, np.zeros(7), np.zeros(7), ee, self.errors, self.last_errors, 1.0, q_desired_rad=desired
        )

    def start_control(self):
        if self.refuse is not None:
            raise self.refuse
        self._m, self._running, self.starts = shape(joint_impedance.MEMORY), True, self.starts + 1

    def controlling(self):
        return self._running and not self.end_with

    def ended(self):
        return self.end_with

    def stop_control(self):
        self._running, self.end_with = False, ""

    def follow(self, target):
        self._p.target[1:] = target[1:]
        self._p.target[0] += 1.0

    def recover(self):
        if self.refuse is not None:
            raise self.refuse
        self.recoveries, self.mode, self.errors = self.recoveries + 1, Mode.IDLE, ()

    def close(self):
        self._running = False


class SlowlyRecovered(FakeArm):
    """In a reflex, of which it recovers in 4 s, with Python's lock held as pylibfranka holds it."""

    recovery_s = 4

    def __init__(self, robot_ip="fake", config=None):
        super().__init__(robot_ip, config)
        self.mode, self.errors = Mode.REFLEX, ("joint_reflex",)

    def recover(self):
        ctypes.PyDLL(None).sleep(self.recovery_s)
        super().recover()


class NeverRecovered(SlowlyRecovered):
    """Its recovery has no end."""

    recovery_s = 3600


def mute_robot(robot_ip, config):
    """Waits forever with Python's lock held, as libfranka's connection does where nobody answers."""
    ctypes.PyDLL(None).pause()
