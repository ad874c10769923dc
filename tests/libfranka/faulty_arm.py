"""The driver's own arm, which breaks libfranka's rules on demand: it does in motion what the name in the file $CDP_FAULT asks for.

The driver never sends such commands by itself. Errors of motion generators, which the driver does not use, are provoked on the same connection in
the place of the 1 kHz loop, and end it in the same way.
"""

import os
from pathlib import Path

import numpy as np

from cdp_franka.rotation import orthonormal
from cdp_franka_driver.libfranka_arm import LibfrankaArm

FILE = Path(os.environ["CDP_FAULT"])
POSITION, POSE = "start_joint_position_control", "start_cartesian_pose_control"


def jump(at_once, later):
    """Offsets [rad or m] by the cycle: one from the start, another from 50 ms on."""
    return lambda cycle: at_once if cycle < 50 else later


def jerk(cycle):
    """From rest to 8 rad/s^2 within a cycle, after 50 ms: 8000 rad/s^3 where 5000 are allowed, and no more than 10 rad/s^2."""
    n = max(cycle - 49, 0)
    return 8e-6 * n * (n + 1) / 2


# What to do to be stopped with a name: how to start, and the offset from there.
GENERATORS = {
    "joint_position_motion_generator_start_pose_invalid": (POSITION, jump(0.3, 0.3)),
    "joint_motion_generator_velocity_discontinuity": (POSITION, jump(0.0, 0.1)),
    "joint_motion_generator_acceleration_discontinuity": (POSITION, jerk),
    "cartesian_position_motion_generator_start_pose_invalid": (POSE, jump(0.3, 0.3)),
    "cartesian_motion_generator_velocity_discontinuity": (POSE, jump(0.0, 0.05)),
}


def _frame(values):
    """The measured end effector, column by column, as exact a frame as the robot wants its commands."""
    frame = np.eye(4)
    measured = np.reshape(values, (4, 4), order="F")
    frame[:3, :3], frame[:3, 3] = orthonormal(measured[:3, :3]), measured[:3, 3]
    return frame.ravel(order="F").tolist()


class FaultyArm(LibfrankaArm):
    """See the module."""

    def __init__(self, robot_ip, config):
        super().__init__(robot_ip, config)
        self._words = ""
        self._gain = "stiffness" if config.command_interface == "joint" else "pose_stiffness"

    def state(self):
        state = super().state()
        if super().controlling() and FILE.exists():
            name = FILE.read_text(encoding="ascii").strip()
            FILE.unlink()
            if name in GENERATORS:
                self._generate(*GENERATORS[name])
            elif name == "controller_torque_discontinuity":
                self._controller.clip = False
                # A step of some Nm where one of 1 Nm in a cycle is allowed, and less than the joints' range.
                gains = np.array(getattr(self._controller, self._gain))
                gains[: len(gains) // 2] *= 2.5
                setattr(self._controller, self._gain, gains)
            else:
                # Every motion drives itself on.
                self._controller.damping = np.full(7, -60.0)
        return state

    def start_control(self):
        self._words = ""
        self._controller.clip = True
        for name, value in self._config.parameters().items():
            setattr(self._controller, name, value)
        super().start_control()

    def controlling(self):
        return not self._words and super().controlling()

    def ended(self):
        return self._words or super().ended()

    def _generate(self, start, offsets):
        import pylibfranka

        super().stop_control()
        control = getattr(self._robot, start)(pylibfranka.ControllerMode.JointImpedance)
        try:
            begun = None
            for cycle in range(200):
                state, _ = control.readOnce()
                offset = offsets(cycle)
                if start == POSITION:
                    begun = begun or list(state.q_d)
                    control.writeOnce(pylibfranka.JointPositions([q + offset for q in begun]))
                else:
                    begun = begun or _frame(state.O_T_EE)
                    pose = list(begun)
                    pose[12] += offset
                    control.writeOnce(pylibfranka.CartesianPose(pose))
            self._words = "the robot did not object"
        except (pylibfranka.ControlException, RuntimeError) as error:
            self._words = str(error)
        self._interface.torque_controller = None
