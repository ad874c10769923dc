"""A server, the driver, the guard and the policy as processes of their own, and a bystander who hears everything and is the operator."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from cdp_msgs.msg import ActionChunk, GuardStatus, PolicyStatus
from cdp_ros.domain import own_domain
from cdp_ros.executor import make_executor
from cdp_ros.stamps import ns_to_stamp, stamp_to_ns
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import SetBool, Trigger

from cdp.actions import eef_row
from cdp_franka.kinematics import forward

PORT, GRIPPER_PORT = 1337, 1338
CONFIG = Path(__file__).resolve().parents[2] / "config"
DEADLINE_S = 60.0
FAULTY_DRIVER = "import sys; from cdp_franka_driver.driver_node import DriverNode; from cdp_ros.main import run_node; "
FAULTY_DRIVER += "sys.exit(run_node('franka_driver', lambda: DriverNode('faulty_arm:FaultyArm'), refusals=(Exception,), close=DriverNode.close))"
GUARD = "import sys; from cdp_policy_node.guard_node import main; sys.exit(main())"
POLICY = "import sys; from cdp_policy_node.policy_node import main; sys.exit(main())"
# The simulation's watchdogs: the server shares two cores with everything else here.
WATCHDOGS = ("state_timeout_s:=0.5", "source_margin_s:=0.4", "max_observation_age_s:=0.8", "max_next_within_s:=0.5")


class Server:
    """A server of libfranka's protocol as a process of its own. Its ports are checked, its end is by SIGTERM."""

    def __init__(self, log, command, ready, environment=None, ports=(PORT, GRIPPER_PORT)):
        """``ready``: what it writes once it serves; ``ports`` have to be free."""
        self._ports = ports
        self._log, self._command, self._ready, self._environment, self.process = log, command, ready, environment, None

    def start(self):
        for port in self._ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("0.0.0.0", port))
        with self._log.open("ab") as log:
            begin = self._log.stat().st_size
            self.process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT, env=self._environment)
        end = time.monotonic() + DEADLINE_S
        while self._ready not in self._log.read_bytes()[begin:]:
            assert self.process.poll() is None, self._log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < end, f"the server is not ready: {self._log}"
            time.sleep(0.1)

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def franka_sim(folder, *arguments, program=None, environment=None):
    """franka-sim, strict; or ``program``, which starts it in its own way, by the same Python and with the same arguments."""
    simulator = Path(os.environ["CDP_FRANKA_SIM"])
    started = [str(simulator)] if program is None else [str(simulator.parent / "python"), str(program)]
    command = [*started, "--enforce-comm-constraints", "--enforce-motion-limits", *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | (environment or {})
    return Server(folder / "franka-sim.log", command, b"Starting MuJoCo simulation loop", environment)


class StoppableRobot:
    """The file by which the robot of ``stopped_server.py`` is told what to be in."""

    def __init__(self, folder):
        self._file = folder / "stop"
        program = Path(__file__).with_name("stopped_server.py")
        self.server = franka_sim(folder, program=program, environment={"CDP_STOP": str(self._file)})

    def stop(self, state):
        """Bring it into one of the states that the program has."""
        written = self._file.with_suffix(".new")
        written.write_text(state, encoding="ascii")
        written.replace(self._file)

    def release(self):
        """Let it go."""
        self._file.unlink(missing_ok=True)


class Stack:
    """Started with ``interface``, joint or cartesian."""

    driver = FAULTY_DRIVER
    # Of an opening that nobody measures.
    fingers_m = 0.03

    def __init__(self, folder, interface, *parameters):
        self.folder, self.interface, self.fault = folder, interface, folder / "fault"
        self.domain = own_domain()
        path = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        self.environment = {**os.environ, "PYTHONPATH": path, "ROS_DOMAIN_ID": str(self.domain), "OMP_NUM_THREADS": "1", "CDP_FAULT": str(self.fault)}
        self.context, self.processes = rclpy.Context(), {}
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = rclpy.create_node("bystander", context=self.context, parameter_overrides=list(parameters))
        self.executor = make_executor(context=self.context)
        self.executor.add_node(self.node)
        self.statuses, self.guard, self.policy, self.joints, self.desired, self.faults = [], [], [], [], [], 0
        self.stops, self.guard_states, self.guard_faults, self.speeds = 0, [], [], {}
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        sensor = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
        subscribe, publish = self.node.create_subscription, self.node.create_publisher
        subscribe(DiagnosticStatus, "/franka_driver/status", self._on_status, latched)
        subscribe(GuardStatus, "/cdp/guard/status", self._on_guard, latched)
        subscribe(PolicyStatus, "/cdp/policy/status", self.policy.append, 50)
        subscribe(JointState, "/joint_states", self._on_joints, sensor)
        subscribe(JointState, "/franka_driver/desired_joint_states", lambda m: self._on_desired(m, m.position), sensor)
        subscribe(
            PoseStamped,
            "/franka_driver/desired_pose",
            lambda m: self._on_desired(m, [m.pose.position.x, m.pose.position.y, m.pose.position.z]),
            sensor,
        )
        self._operator = publish(ActionChunk, "/cdp/action/operator", 10)
        self._fingers = publish(JointState, "/franka_gripper/joint_states", 5)
        self._image = publish(Image, "/agentview/image_raw", 5)
        self._engage = self.node.create_client(SetBool, "/cdp/guard/engage")
        self._recovery = self.node.create_client(Trigger, "/franka_driver/error_recovery")
        self._pictures = [np.random.default_rng(k).integers(0, 256, (120, 160, 3), dtype=np.uint8).tobytes() for k in range(7)]
        self._shown, self.camera, self.wish, self.width_m = 0, False, None, 0.03
        self.node.create_timer(1 / 30, self._sense)
        self.node.create_timer(0.1, self._operate)

    # Processes

    def start_driver(self, *more):
        self.start("driver", self.driver, "robot_ip:=127.0.0.1", f"command_interface:={self.interface}", "max_age_s:=0.5", *more)

    def start_guard(self, *more):
        self.start("guard", GUARD, f"command_interface:={self.interface}", "controller:=franka_driver", "has_gripper:=true", *WATCHDOGS, *more)

    def start_policy(self, bundle):
        self.camera = True
        self.start("policy", POLICY, f"bundle:={bundle}", "autostart:=true", "image_timeout_s:=1.0", "state_timeout_s:=1.0")

    def start(self, name, code, *settings, arguments=()):
        parameters = [part for setting in settings for part in ("--params-file" if setting.endswith(".yaml") else "-p", setting)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-c", code, *arguments, "--ros-args", *parameters], env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        return self.processes[name]

    def end(self, name, number=signal.SIGINT):
        process = self.processes.pop(name)
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()

    def close(self):
        for name in list(self.processes):
            self.end(name)
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    # What is heard

    def _on_status(self, msg):
        self.statuses.append((msg.message, {v.key: v.value for v in msg.values}))

    def _on_joints(self, msg):
        stamp = stamp_to_ns(msg.header.stamp)
        self.speeds[stamp] = max(abs(speed) for speed in msg.velocity)
        self.joints.append((stamp, np.array(msg.position)))

    def _on_guard(self, msg):
        if msg.state == GuardStatus.STATE_FAULT and self.guard_states[-1:] != [GuardStatus.STATE_FAULT]:
            self.guard_faults.append(msg.message)
        self.guard_states.append(msg.state)
        self.guard.append(msg)

    def _on_desired(self, msg, position):
        self.desired.append((stamp_to_ns(msg.header.stamp), np.array(position)))

    @property
    def status(self):
        return self.statuses[-1][1] if self.statuses else {"phase": "", "problem": "", "reflexes": "", "process_id": "0"}

    def robot_s(self):
        return float(self.status.get("robot_time_s", 0.0))

    def guard_is(self, *states):
        return bool(self.guard) and self.guard[-1].state in states

    def until(self, condition, what, deadline_s=DEADLINE_S, each=lambda: None):
        end = time.monotonic() + deadline_s
        while not condition():
            told = f"driver {self.statuses[-1:]}, guard {[(g.state, g.message) for g in self.guard[-1:]]}"
            assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what}; {told}"
            self.executor.spin_once(timeout_sec=0.02)
            each()

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    # What is done

    def _sense(self):
        stamp = ns_to_stamp(self.node.get_clock().now().nanoseconds)
        if self.fingers_m is not None:
            fingers = JointState(name=["fr3_finger_joint1", "fr3_finger_joint2"], position=[self.fingers_m] * 2, velocity=[0.0, 0.0])
            fingers.header.stamp = stamp
            self._fingers.publish(fingers)
        if self.camera:
            self._shown = (self._shown + 1) % len(self._pictures)
            image = Image(height=120, width=160, step=480, encoding="rgb8", data=self._pictures[self._shown])
            image.header.stamp = stamp
            self._image.publish(image)

    def _operate(self):
        now_ns = self.node.get_clock().now().nanoseconds
        held = self.wish is not None
        rows = np.zeros((0, 10)) if not held else eef_row(self.wish(now_ns)[None], np.array([[1.0, 0.0, 0.0, 0.0]]), np.array([self.width_m]))
        msg = ActionChunk(source=ActionChunk.SOURCE_OPERATOR, space=ActionChunk.SPACE_EEF_POSE, dt_s=0.1, next_within_s=0.2, deadman=held)
        msg.horizon, msg.width, msg.header.frame_id = len(rows), 10, "fr3_link0"
        msg.header.stamp = msg.observation_stamp = ns_to_stamp(now_ns)
        msg.start_stamp, msg.actions = ns_to_stamp(now_ns + 100_000_000), rows.astype(np.float32).ravel().tolist()
        self._operator.publish(msg)

    def engage(self):
        self.until(lambda: self.ask_to_engage() is True, "the guard to engage")

    def ask_to_engage(self):
        """The guard's answer; None where none came."""
        self.until(self._engage.service_is_ready, "the guard's service")
        future, end = self._engage.call_async(SetBool.Request(data=True)), time.monotonic() + 3.0
        # DDS loses an answer now and then that is sent before both ends know each other.
        self.until(lambda: future.done() or time.monotonic() > end, "the guard's answer")
        if not future.done():
            return None
        if not future.result().success:
            # Asked without a pause, guard and log would have the machine to themselves.
            self.run(0.1)
        return future.result().success

    def engage_after_a_fault(self):
        """Machines that stall make the guard fault; that is counted, and the run goes on."""
        if self.guard_is(4):
            self.faults += 1
            self.engage()
            self.guard.clear()

    def engage_after_a_stall(self):
        """The same where the driver has refused a target, so that the guard is off."""
        if self.guard_is(0, 4) and self.status["phase"] == "controlling":
            self.faults += 1
            self.engage()
            self.guard.clear()

    def recover(self):
        self.until(self._recovery.service_is_ready, "the driver's service")
        future = self._recovery.call_async(Trigger.Request())
        self.until(future.done, "the answer to the recovery")
        return future.result()

    def control(self):
        self.until(lambda: self.status["phase"] == "controlling", "the arm under control")

    def here(self):
        return forward(self.joints[-1][1])[0]

    def circle(self, centre, radius=0.04, period_s=4.0):
        """The operator moves the hand around through ``centre``, coming there from wherever it is."""
        begun = self.node.get_clock().now().nanoseconds

        def place(now_ns):
            turn = 2 * np.pi * (now_ns - begun) * 1e-9 / period_s
            return centre + radius * np.array([1.0 - np.cos(turn), np.sin(turn), 0.0])

        self.wish = lambda now_ns: self._towards(place(now_ns))

    def go(self, place, within_m=0.03):
        """The operator takes the hand to ``place``, and begins anew where a busy machine has stopped that."""
        self.wish = lambda now_ns: self._towards(place)
        self.until(lambda: np.linalg.norm(place - self.here()) < within_m, f"the arm at {place}, it is at {self.here()}", each=self._begin_anew)

    def _begin_anew(self):
        if self.status["problem"] == "reflex":
            assert self.status["reflexes"] == "communication_constraints_violation", self.status
            self.stops += 1
            self.recover()
        elif self.guard_is(0, 4) and self.status["phase"] == "controlling":
            self.faults += bool(self.ask_to_engage())

    def _towards(self, place):
        """No further ahead than the guard lets a target be."""
        way = place - self.here()
        return self.here() + way * min(1.0, 0.06 / max(np.linalg.norm(way), 1e-9))

    def moved(self, since):
        """Way of the measured joints, rad."""
        path = np.array([q for _, q in self.joints[since:]])
        return 0.0 if len(path) < 2 else float(np.abs(np.diff(path, axis=0)).sum())


class ShippedStack(Stack):
    """Driver and guard with the settings that are shipped, as they are."""

    def start_driver(self, *more):
        self.start("driver", self.driver, str(CONFIG / "driver.yaml"), "robot_ip:=127.0.0.1", f"command_interface:={self.interface}", *more)

    def start_guard(self):
        self.start("guard", GUARD, str(CONFIG / "guard.yaml"), f"command_interface:={self.interface}", "controller:=franka_driver")


def share_of_allowed(samples, speed, allowance):
    """Greatest change from one sample to the next as a share of what ``speed`` (D,) [per s] and ``allowance`` let it be, in 10 ms or longer."""
    worst = 0.0
    for (t0, a), (t1, b) in itertools.pairwise(samples):
        worst = max(worst, float((np.abs(b - a) / (speed * max((t1 - t0) * 1e-9, 0.01) + allowance)).max()))
    return worst


def largest_step(samples):
    """Greatest change of any coordinate from one sample to the next, per 10 ms between their stamps."""
    worst = 0.0
    for (t0, a), (t1, b) in itertools.pairwise(samples):
        worst = max(worst, float(np.abs(b - a).max()) / max((t1 - t0) * 1e-7, 1.0))
    return worst
