"""The arm behind libfranka: pylibfranka for the connection, aiofranka's loop in C++ for the 1 kHz.

Runs in a process of its own: pylibfranka keeps Python's interpreter lock while it waits for the robot, forever if a robot that was reached does not
answer. The loop itself is a C++ thread that takes neither that lock nor any other of Python's.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import numpy as np

from cdp.geometry import FloatArray
from cdp_franka_driver import cartesian_impedance, joint_impedance, layout
from cdp_franka_driver.arm import ArmState, Mode
from cdp_franka_driver.config import ControlConfig

_MODES = {
    "Other": Mode.OTHER,
    "Idle": Mode.IDLE,
    "Move": Mode.MOVE,
    "Guiding": Mode.GUIDING,
    "Reflex": Mode.REFLEX,
    "UserStopped": Mode.USER_STOPPED,
    "AutomaticErrorRecovery": Mode.RECOVERY,
}


class LibfrankaArm:
    """See :class:`cdp_franka_driver.arm.Arm`."""

    def __init__(self, robot_ip: str, config: ControlConfig) -> None:
        """Connects. Raises ImportError where a library is missing, and libfranka's exceptions."""
        self._config = config
        native = importlib.import_module("aiofranka.native")
        if config.realtime == "enforce" and not has_realtime_kernel():
            # In the words of libfranka, which aiofranka tells not to look.
            raise RuntimeError("libfranka: Running kernel does not have realtime capabilities.")
        interface = _connected(importlib.import_module("aiofranka.robot").RobotInterface, robot_ip)
        self._robot, self._interface, self._settled = interface.robot, interface, False
        self._controller = native.NativeFrankaController(interface)
        self._loop = self._controller._loop
        self._set_law(native)
        self._last_time_s = -1.0
        self._number = 0.0
        self._control: Any = None

    def _set_law(self, native: Any) -> None:
        config, jit = self._config, importlib.import_module("numba").njit
        module = joint_impedance if config.command_interface == "joint" else cartesian_impedance
        law = native.control_law(module.make_law(jit), params=module.PARAMETERS, memory=module.MEMORY)
        self._controller.switch(law)
        for name, value in config.parameters().items():
            setattr(self._controller, name, value)
        self._target = next(iter(module.PARAMETERS))

    def _settle(self) -> None:
        """Make the settings, once for each connection. A robot that is stopped, locked, guided or in a reflex refuses them."""
        if self._settled:
            return
        torque, force = [list(limits) for limits in (self._config.collision_torque_nm, self._config.collision_force_n)]
        self._robot.set_collision_behavior(torque, torque, force, force)
        self._interface.set_load(0.0)
        self._settled = True

    def state(self) -> ArmState | None:
        """See :class:`cdp_franka_driver.arm.Arm`."""
        stamp_ns = time.time_ns()
        running = self._loop.running()
        if not running:
            state = self._robot.read_once()
        elif self._loop.copy_robot_state_into(self._interface.robot_state):
            state = self._interface.robot_state
        else:
            return None
        if state.time.to_sec() == self._last_time_s:
            return None
        self._last_time_s = state.time.to_sec()
        memory = self._controller.law_memory if running else None
        desired: dict[str, FloatArray] = {}
        if memory is not None and memory["started"][0] > 0.0:
            joints = self._config.command_interface == "joint"
            desired = {"q_desired_rad": memory["q"].copy()} if joints else {"pose_desired": np.concatenate([memory["x"][:3], memory["quat"]])}
        return ArmState(
            stamp_ns=stamp_ns,
            robot_time_s=self._last_time_s,
            mode=_MODES[state.robot_mode.name],
            q_rad=np.array(state.q),
            dq_rad_s=np.array(state.dq),
            tau_nm=np.array(state.tau_J),
            o_t_ee=np.array(state.O_T_EE).reshape(4, 4, order="F"),
            errors=_names(state.current_errors),
            last_errors=_names(state.last_motion_errors),
            success_rate=float(state.control_command_success_rate),
            scheduling=str(self._loop.realtime_status()).rstrip("; ") if running else "",
            **desired,
        )

    def start_control(self) -> None:
        """See :class:`cdp_franka_driver.arm.Arm`."""
        if self._interface.torque_controller is not None:
            self.stop_control()
        self._settle()
        self._loop.reset_memory()
        self._interface.start()
        self._controller._launch(fifo_priority=self._config.realtime_priority)

    def controlling(self) -> bool:
        """See :class:`cdp_franka_driver.arm.Arm`."""
        return bool(self._loop.running())

    def ended(self) -> str:
        """See :class:`cdp_franka_driver.arm.Arm`."""
        return str(self._loop.error() or "")

    def stop_control(self) -> None:
        """See :class:`cdp_franka_driver.arm.Arm`."""
        self._loop.request_stop()
        self._loop.join()
        # The robot takes no other motion while this one's object lives. It is kept until the robot does as it is told: by libfranka's sources its
        # destructor asks the robot to stop once more, and a refusal there would end the process.
        self._robot.stop()
        self._interface.torque_controller = None

    def follow(self, target: FloatArray) -> None:
        """See :class:`cdp_franka_driver.arm.Arm`."""
        self._number += 1.0
        target[layout.NUMBER] = self._number
        setattr(self._controller, self._target, target)

    def recover(self) -> None:
        """See :class:`cdp_franka_driver.arm.Arm`."""
        self._robot.automatic_error_recovery()

    def close(self) -> None:
        """See :class:`cdp_franka_driver.arm.Arm`."""
        if self._loop.running():
            self.stop_control()


def _connected(interface: Any, robot_ip: str) -> Any:
    """aiofranka's ``RobotInterface``, also of a robot that refuses the settings which its constructor makes: it can be looked at and recovered."""
    made = interface.__new__(interface)
    try:
        made.__init__(robot_ip, read_tool=False)
    except RuntimeError as error:
        if "command rejected" not in str(error) or not hasattr(made, "robot"):
            raise
        # What the constructor does after the settings.
        made.sync_mj()
        made.sync_payload()
    return made


def has_realtime_kernel() -> bool:
    """Whether this machine's kernel is PREEMPT_RT, by the file that libfranka reads too."""
    path = Path("/sys/kernel/realtime")
    return path.exists() and path.read_text(encoding="ascii").strip() == "1"


def _names(errors: Any) -> tuple[str, ...]:
    return tuple(name for name in dir(errors) if not name.startswith("_") and getattr(errors, name) is True)
