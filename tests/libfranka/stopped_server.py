"""franka-sim, with a robot that a person or its safety stops on demand: it is in the state whose name is in the file $CDP_STOP, until that is gone.

Runs in franka-sim's own environment. What it answers is what libfranka's protocol (version 10) has for each state. A real robot may refuse fewer
commands than this one, which refuses all that the protocol lets it refuse, StopMove and the settings included.
"""

import os
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import franka_sim
from franka_sim.comm_constraints import COMMUNICATION_CONSTRAINTS_VIOLATION_INDEX
from franka_sim.franka_protocol import LibfrankaControllerMode, LibfrankaMotionGeneratorMode, MessageHeader, MoveStatus, RobotMode
from franka_sim.franka_sim_server import FrankaSimServer
from franka_sim.run_server import main

FILE = Path(os.environ["CDP_STOP"])
_LOOK_S = 0.002
# A hand that guides the arm turns its first joint, at 0.1 rad/s, and not out of the guard's workspace.
_GUIDED_RAD, _GUIDED_STEPS = 0.1 * _LOOK_S, 1500
NOT_POSSIBLE, RECOVERY_SAFETY, RECOVERY_EMERGENCY = 1, 2, 5
SETTERS = ("set_collision_behavior", "set_joint_impedance", "set_cartesian_impedance", "set_guiding_mode", "set_ee_to_k", "set_ne_to_ee", "set_load")


@dataclass(frozen=True)
class Stop:
    """``mode`` that the robot reports, what its motion ends with, and the status of each answer meanwhile; None: it does as it is told."""

    mode: RobotMode
    ends: MoveStatus
    move: MoveStatus = MoveStatus.kCommandNotPossibleRejected
    setter: int | None = NOT_POSSIBLE
    stop_move: int | None = NOT_POSSIBLE
    recovery: int | None = NOT_POSSIBLE


STOPS = {
    "user stop": Stop(RobotMode.kUserStopped, MoveStatus.kEmergencyAborted, recovery=RECOVERY_EMERGENCY),
    "joints locked": Stop(RobotMode.kOther, MoveStatus.kAborted),
    "guided": Stop(RobotMode.kGuiding, MoveStatus.kPreempted),
    "safety function": Stop(
        RobotMode.kIdle,
        MoveStatus.kPreemptedDueToActivatedSafetyFunctions,
        MoveStatus.kCommandRejectedDueToActivatedSafetyFunctions,
        setter=None,
        stop_move=None,
        recovery=RECOVERY_SAFETY,
    ),
    "reflex": Stop(RobotMode.kReflex, MoveStatus.kReflexAborted, recovery=None),
}


def refused(handler, status_of):
    """``handler``, or the status that the stop has for it."""

    def handle(self, client_socket, header, *payload):
        with self._motion_lock:
            status = None if self.stopped is None else status_of(self.stopped)
            if status is not None:
                self._send_tcp(client_socket, MessageHeader(header.command, header.command_id, 16).to_bytes() + struct.pack("<B3x", status))
                return
        handler(self, client_socket, header, *payload)

    return handle


class StoppedServer(FrankaSimServer):
    """See the module."""

    stopped = None
    handle_move_command = refused(FrankaSimServer.handle_move_command, lambda stop: stop.move.value)
    handle_stop_move_command = refused(FrankaSimServer.handle_stop_move_command, lambda stop: stop.stop_move)

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        threading.Thread(target=self._watch, daemon=True).start()

    def reset_state(self):
        super().reset_state()
        self._report()

    def _finish_motion(self, command):
        if self.stopped is None:
            super()._finish_motion(command)

    def handle_automatic_error_recovery_command(self, client_socket, header, payload):
        if self.stopped is not None and self.stopped.recovery is None:
            FILE.unlink(missing_ok=True)
            self._become(None)
        _recover(self, client_socket, header, payload)

    def _watch(self):
        name, steps = None, 0
        while True:
            time.sleep(_LOOK_S)
            try:
                wanted = FILE.read_text(encoding="ascii").strip()
            except FileNotFoundError:
                wanted = None
            if wanted != name:
                name, steps = wanted, 0
                self._become(None if name is None else STOPS[name])
            if name == "guided" and steps < _GUIDED_STEPS and self.robot_state.state["robot_mode"] == RobotMode.kGuiding:
                steps += 1
                target = list(self.physics_sim.latest_joint_positions)
                self.physics_sim.update_joint_positions([target[0] + _GUIDED_RAD, *target[1:]])

    def _become(self, stop):
        with self._motion_lock:
            if stop is None and self.stopped is None:
                return
            if stop is None:
                self.robot_state.state["robot_mode"] = RobotMode.kIdle
                self.robot_state.state["errors"] = [False] * 41
                self.stopped = None
                return
            self.stopped = stop
            self._engage_idle_hold("the robot is stopped")
            self._report()
            if self.current_motion_id and self.client_socket is not None:
                # Answered when a state with the mode has gone out, as franka-sim answers a reflex.
                self._pending_move_response = (self.current_motion_id, stop.ends, self._states_packed)
                self.current_motion_id = 0

    def _report(self):
        if self.stopped is not None:
            state = self.robot_state.state
            state["motion_generator_mode"] = LibfrankaMotionGeneratorMode.kIdle.value
            state["controller_mode"] = LibfrankaControllerMode.kOther.value
            state["robot_mode"] = self.stopped.mode
            if self.stopped.mode is RobotMode.kReflex:
                # As after a driver that was killed.
                for errors in ("errors", "reflex_reason"):
                    state[errors][COMMUNICATION_CONSTRAINTS_VIOLATION_INDEX] = True


_recover = refused(FrankaSimServer.handle_automatic_error_recovery_command, lambda stop: stop.recovery)
for _name in SETTERS:
    _handler = f"handle_{_name}_command"
    setattr(StoppedServer, _handler, refused(getattr(FrankaSimServer, _handler), lambda stop: stop.setter))


if __name__ == "__main__":
    franka_sim.FrankaSimServer = StoppedServer
    main()
