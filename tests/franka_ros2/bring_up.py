"""`bringup.launch.py` with franka_ros2 itself on franka-sim, and the operator of the libfranka checks beside it."""

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import rclpy
from cdp_ros.call import Call
from cdp_ros.stamps import stamp_to_ns
from control_msgs.msg import JointTrajectoryControllerState
from franka_msgs.msg import FrankaRobotState
from motions import START_M, in_motion
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_srvs.srv import SetBool
from wire_stack import Stack

from cdp_franka.limits import FR3

ARM, HARDWARE = "fr3_arm_controller", "FrankaHardwareInterface"
CONTROLLERS = (ARM, "franka_robot_state_broadcaster", "joint_state_broadcaster")
# The simulation's watchdogs: the server shares two cores with everything else here.
WATCHDOGS = ("state_timeout_s:=0.5", "source_margin_s:=0.4", "max_observation_age_s:=0.8")
NOBODY = ("camera:=none", "device:=none", "recorder:=false", "panel:=false")
# In the words of the libfranka driver, which the checks that are shared ask for.
PHASES = {FrankaRobotState.ROBOT_MODE_MOVE: "controlling", FrankaRobotState.ROBOT_MODE_REFLEX: "waiting", FrankaRobotState.ROBOT_MODE_IDLE: "waiting"}
# Of one command of ROS 2's own tools, and of the launch's end, on a machine that has other things to do.
COMMAND_S = 60.0
SILENT_S = 3.0


class BringUp(Stack):
    """The arm by ros2_control, its fingers by franka_gripper; ``status`` is what the robot's state says."""

    fingers_m = None

    def __init__(self, folder, interface="joint"):
        super().__init__(folder, interface)
        self.environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        # 1000 messages a second: none is heard, the newest is taken when somebody asks.
        self._aside = rclpy.create_node("robot_state_of_bystander", context=self.context)
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._robot = self._aside.create_subscription(FrankaRobotState, "/franka_robot_state_broadcaster/robot_state", lambda _: None, newest)
        state, topic = JointTrajectoryControllerState, f"/{ARM}/controller_state"
        self.node.create_subscription(state, topic, self._on_reference, QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT))
        self.retreats, self._retreating = 0, self.node.create_client(SetBool, "/cdp/guard/retreat")
        self._status, self._heard_s, self.rates = {"phase": "", "problem": "", "reflexes": "", "robot_time_s": "0"}, None, []

    def start_driver(self, *more):
        self._heard_s = None
        with (self.folder / "bringup.log").open("ab") as log:
            self.processes["bringup"] = subprocess.Popen(
                ["ros2", "launch", "cdp_policy_node", "bringup.launch.py", "robot_ip:=127.0.0.1", *NOBODY, *WATCHDOGS, *more],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_guard(self):
        """The launch has it."""

    def close(self):
        self._aside.destroy_node()
        super().close()
        subprocess.run(["ros2", "daemon", "stop"], env=self.environment, capture_output=True, timeout=COMMAND_S, check=False)

    def pid(self, program):
        """Process id of one of the launch's: a program, or a script of Python's."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                session = os.getsid(int(entry.name))
            except OSError:
                continue
            if session == self.processes["bringup"].pid and any(os.fsdecode(word).endswith(program) for word in words[:2]):
                return int(entry.name)
        raise AssertionError(f"{program} does not run")

    def log(self):
        """What the launch has printed."""
        return (self.folder / "bringup.log").read_text(errors="replace")

    # What is heard

    @property
    def status(self):
        taken = self._robot.handle.take_message(FrankaRobotState, False)
        if taken is not None:
            state, self._heard_s = taken[0], time.monotonic()
            reflexes = [name for name in state.current_errors.get_fields_and_field_types() if getattr(state.current_errors, name)]
            self.rates.append(state.control_command_success_rate)
            reflex = state.robot_mode == FrankaRobotState.ROBOT_MODE_REFLEX
            self._status = {
                "phase": PHASES.get(state.robot_mode, "other"),
                "problem": "reflex" if reflex else "",
                "reflexes": ", ".join(reflexes),
                "robot_time_s": str(state.time),
            }
        elif self._heard_s is not None and time.monotonic() - self._heard_s > SILENT_S:
            self._status = {**self._status, "phase": "waiting"}
        return self._status

    def down(self):
        """Whether nothing is heard of the robot's state any more: with its hardware ros2_control takes the broadcasters down."""
        return self.status["phase"] == "waiting"

    def _on_joints(self, msg):
        if len(msg.velocity) == len(msg.name) and set(FR3.joint_names) <= set(msg.name):
            index, stamp = [msg.name.index(name) for name in FR3.joint_names], stamp_to_ns(msg.header.stamp)
            self.speeds[stamp] = max(abs(msg.velocity[k]) for k in index)
            self.joints.append((stamp, np.array([msg.position[k] for k in index])))

    def _on_reference(self, msg):
        index = [msg.joint_names.index(name) for name in FR3.joint_names]
        self.desired.append((stamp_to_ns(msg.header.stamp), np.array([msg.reference.positions[k] for k in index])))

    # What is done

    def command(self, *words):
        """One of ROS 2's own tools; what it prints. Meanwhile the operator goes on."""
        process = subprocess.Popen(["ros2", *words], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.until(lambda: process.poll() is not None, f"the end of ros2 {' '.join(words)}", COMMAND_S)
        said = process.stdout.read()
        assert process.returncode == 0, f"ros2 {' '.join(words)}: {said}"
        return said

    def controllers(self):
        """State of each controller, by its name."""
        rows = [line.split() for line in self.command("control", "list_controllers").splitlines()]
        return {row[0]: row[-1] for row in rows if row and row[0] in CONTROLLERS}

    def recover(self):
        """The steps of docs/lab-guide.md, in its order."""
        self._bring_back()
        self.control()

    def _bring_back(self):
        self.wish = self._heard_s = None
        self._status = {**self._status, "phase": ""}
        self.command("action", "send_goal", "/action_server/error_recovery", "franka_msgs/action/ErrorRecovery", "{}")
        assert HARDWARE in self.command("control", "list_hardware_components")
        self.command("control", "set_hardware_component_state", HARDWARE, "active")
        inactive = [name for name, state in self.controllers().items() if state != "active"]
        if inactive:
            self.command("control", "switch_controllers", "--activate", *inactive)

    def engage_after_a_fault(self):
        """Where the fault can be backed out of, that comes first: an arm that has settled too far below the floor of the box is not engaged there."""
        if self.guard_is(4) and "/cdp/guard/retreat" in self.guard[-1].message:
            self.until(self._begins_to_retreat, "the guard to retreat")
            self.retreats += 1
        # Refused while the arm retreats, and asked for again until it is granted.
        super().engage_after_a_fault()

    def _begins_to_retreat(self):
        """Whether it does; it refuses while its target comes to rest."""
        call = Call(self._retreating, SetBool.Request(data=True))
        self.until(call.done, "the answer to the retreat")
        return call.result().success

    def disengage(self):
        """The guard off, by its service."""
        call = Call(self._engage, SetBool.Request(data=False))
        self.until(lambda: call.done() and self.guard_is(0), "the guard off")

    def fast(self, speed_rad_s=0.35):
        """The operator moves the arm, and a joint goes at ``speed_rad_s`` or more; how fast."""
        in_motion(self)
        self.circle(START_M + np.array([0.0, 0.0, 0.1]), radius=0.1, period_s=3.0)
        self.until(lambda: self.speeds[self.joints[-1][0]] > speed_rad_s, "an arm that is fast")
        return self.speeds[self.joints[-1][0]]

    def control(self):
        if self.down():
            self.stops += 1
            self._bring_back()
        self.joints.clear()
        self.desired.clear()
        self.until(lambda: self.status["phase"] == "controlling" and self._agree(), "the arm under control, where its controller has it")

    def _agree(self):
        """joint_state_publisher makes positions up until it has heard the arm's."""
        return bool(self.joints and self.desired) and np.abs(self.joints[-1][1] - self.desired[-1][1]).max() < 0.02
