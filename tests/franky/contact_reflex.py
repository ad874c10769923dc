"""What franky-sim leaves out of libfranka's protocol and a contact needs: external torques, collision thresholds, reflexes, their recovery.

franky-sim 1.0.4 acknowledges thresholds and recoveries without effect, raises no reflex, and reports the applied torques as external ones. Here the
torques of MuJoCo's contacts on the arm are the external ones, low-passed; beyond the thresholds that the client has set the motion is aborted as the
robot does it. The wrench is the one that explains these torques best at the end effector.
"""

import functools
import select

import franky_sim.franka_robot_server as robot_server
import mujoco
import numpy as np
from franky_sim.franka_robot_protocol import (
    AutomaticErrorRecoveryCommand,
    BaseCommand,
    MoveStatus,
    RobotCommand,
    RobotMode,
    SetCollisionBehaviorCommand,
)

# Time constant of the low pass on the external torques; the robot's own is not published.
FILTER_S = 0.01
# Places of libfranka's names in the 41 flags of a state.
PLACES = {"joint_reflex": 6, "cartesian_reflex": 7}


def contact_torques(model, data, dofs):
    """Torques (len(dofs),) [Nm] of all contacts on these degrees of freedom; friction and stops of the joints are not among them."""
    if data.ncon == 0:
        return np.zeros(len(dofs))
    forces = np.array(data.efc_force)
    # MuJoCo sorts its constraints: equalities, friction, stops, contacts.
    forces[: data.ne + data.nf + data.nl] = 0.0
    torques = np.zeros(model.nv)
    mujoco.mj_mulJacTVec(model, data, torques, forces)
    return torques[dofs]


@functools.cache
def _flags(names):
    return tuple(place in [PLACES[name] for name in names] for place in range(41))


class ReflexServer(robot_server.FrankaRobotServer):
    """A robot that stops where it is touched harder than it was told to bear."""

    def __init__(self, robot, hostnames):
        super().__init__(robot, hostnames)
        self._torque_limit, self._force_limit = np.full(7, np.inf), np.full(6, np.inf)
        self._torque, self._wrench, self._jacobian = np.zeros(7), np.zeros(6), np.zeros((6, 0))
        self._errors, self._last = (), ()
        self.reflexes = 0

    def set_thresholds(self, torque_nm, force_n):
        self._torque_limit, self._force_limit = np.array(torque_nm), np.array(force_n)

    def recover(self):
        self._errors = ()

    def await_command(self, patience_s):
        """In motion: until the answer to the last state is here, or for this long."""
        if self.current_motion_id and self.udp_connected:
            select.select([self._FrankaServer__udp_socket], [], [], patience_s)

    def start_motion(self, *arguments):
        if self._errors:
            raise RuntimeError(f"in reflex: {self._errors}")
        self._last = ()
        super().start_motion(*arguments)

    def send_state(self):
        self._feel()
        exceeded = {"joint_reflex": np.abs(self._torque) > self._torque_limit, "cartesian_reflex": np.abs(self._wrench) > self._force_limit}
        motion = self.current_motion_id
        if motion and any(part.any() for part in exceeded.values()):
            self._errors = self._last = tuple(name for name, part in exceeded.items() if part.any())
            self.reflexes += 1
            self.stop_motion(send_preemption_signal=False)
            self.reset_current_motion_id()
            super().send_state()
            BaseCommand.send_response(self._tcp_socket, RobotCommand.kMove, motion, MoveStatus.kReflexAborted)
            return
        super().send_state()

    def _feel(self):
        model, data, dofs = self.robot.model, self.robot.data, self.robot._dof_addrs
        share = model.opt.timestep / FILTER_S
        self._torque = self._torque + share * (contact_torques(model, data, dofs) - self._torque)
        if not np.any(self._torque):
            self._wrench = np.zeros(6)
            return
        jacobian, hand = np.zeros((6, model.nv)), model.site("robot0_tcp").id
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], hand)
        self._wrench = np.linalg.lstsq(jacobian[:, dofs].T, self._torque, rcond=1e-3)[0]

    @property
    def robot_state(self):
        mode = {"robot_mode": RobotMode.kReflex} if self._errors else {}
        return super().robot_state.replace(
            tau_ext_hat_filtered=tuple(self._torque),
            O_F_ext_hat_K=tuple(self._wrench),
            errors=_flags(self._errors),
            reflex_reason=_flags(self._last),
            **mode,
        )


class Thresholds(SetCollisionBehaviorCommand):
    """Keeps what it is told."""

    def handle(self, server):
        server.set_thresholds(self.upper_torque_thresholds_nominal, self.upper_force_thresholds_nominal)
        super().handle(server)


class Recovery(AutomaticErrorRecoveryCommand):
    """Ends the reflex."""

    def handle(self, server):
        server.recover()
        super().handle(server)


def install():
    """Make franky-sim's servers of this process feel contacts."""
    import franky_sim.simulation_server as simulation_server

    robot_server.SetCollisionBehaviorCommand, robot_server.AutomaticErrorRecoveryCommand = Thresholds, Recovery
    simulation_server.FrankaRobotServer = ReflexServer
