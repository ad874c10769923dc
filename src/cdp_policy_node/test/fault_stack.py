"""Fake arm, guard and policy as processes of their own, a bystander who hears everything, and what each fault came to."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from cdp_msgs.msg import ActionChunk, GuardStatus, PolicyStatus
from cdp_ros.call import Call
from cdp_ros.domain import own_domain
from cdp_ros.executor import make_executor
from cdp_ros.stamps import ns_to_stamp, stamp_to_ns
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import SetBool

from cdp.actions import eef_row

DEADLINE_S = 60.0
# A guard whose commands are further apart than this was held up by the machine, and says so by its own max_tick_s.
MOST_LATE_S = 0.05
TRIES = 3
HELD = (GuardStatus.STATE_HOLDING, GuardStatus.STATE_FAULT)
NODES = {"guard": "cdp_policy_node.guard_node", "policy": "cdp_policy_node.policy_node"}


@dataclass(frozen=True)
class Hold:
    """How a fault ended: seconds from the last sign of life to the guard's hold, its reason, and how late the guard's own ticks were meanwhile."""

    fault: str
    after_s: float
    stated_s: float
    late_s: float
    reason: int
    message: str


class FaultStack:
    """Everything running and engaged. :meth:`close` ends it."""

    def __init__(self, bundle: Path) -> None:
        self.domain = own_domain()
        self._environment = {**os.environ, "ROS_DOMAIN_ID": str(self.domain), "OMP_NUM_THREADS": "1"}
        self._bundle = bundle
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = rclpy.create_node("bystander", context=self.context)
        self.executor = make_executor(context=self.context)
        self.executor.add_node(self.node)
        self.guard: list[GuardStatus] = []
        self.policy: list[PolicyStatus] = []
        self.commands: list[tuple[int, np.ndarray]] = []
        self.newest_ns = {"camera": 0, "joints": 0, "answer": 0, "none": 0}
        latched = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        sensor = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
        subscribe = self.node.create_subscription
        subscribe(GuardStatus, "/cdp/guard/status", self.guard.append, latched)
        subscribe(PolicyStatus, "/cdp/policy/status", self.policy.append, 50)
        subscribe(PoseStamped, "/cartesian_impedance_example_controller/equilibrium_pose", self._on_command, 500)
        subscribe(Image, "/agentview/image_raw", lambda m: self._heard("camera", m), sensor)
        subscribe(JointState, "/joint_states", lambda m: self._heard("joints", m), sensor)
        subscribe(ActionChunk, "/cdp/action/policy", lambda m: self._heard("answer", m), 100)
        self._operator = self.node.create_publisher(ActionChunk, "/cdp/action/operator", 10)
        self._engage = self.node.create_client(SetBool, "/cdp/guard/engage")
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.processes["arm"] = self._start([sys.executable, str(Path(__file__).with_name("fake_arm.py"))])
        self.start("guard")
        self.start("policy")

    def start(self, name: str) -> None:
        """Start the guard or the policy as its own process."""
        parameters = {"guard": [], "policy": ["-p", f"bundle:={self._bundle}", "-p", "autostart:=true"]}[name]
        main = f"import sys; from {NODES[name]} import main; sys.exit(main())"
        self.processes[name] = self._start([sys.executable, "-c", main, "--ros-args", *parameters])

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def _heard(self, what: str, message: object) -> None:
        self.newest_ns[what] = max(self.newest_ns[what], stamp_to_ns(message.header.stamp))

    def _on_command(self, message: PoseStamped) -> None:
        p = message.pose.position
        self.commands.append((stamp_to_ns(message.header.stamp), np.array([p.x, p.y, p.z])))

    def tell_arm(self, fault: str) -> None:
        """Bring a fault into force at the arm."""
        pipe = self.processes["arm"]
        pipe.stdin.write(f"{fault}\n")
        pipe.stdin.flush()
        assert pipe.stdout.readline().strip() == "done"

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Hear messages until the condition holds; fails after a deadline."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"waited {DEADLINE_S:.0f} s for {what}; guard {self.guard[-1:]}, policy {self.policy[-1:]}"
            self.executor.spin_once(timeout_sec=0.02)

    def guard_is(self, *states: int) -> bool:
        """Whether the guard's newest status is one of these."""
        return bool(self.guard) and self.guard[-1].state in states

    def engage(self) -> None:
        """Engage, again and again until the guard takes it."""
        self.until(self._engage.service_is_ready, "the guard")
        taken: list[bool] = []

        def asked() -> bool:
            call = Call(self._engage, SetBool.Request(data=True))
            self.until(call.done, "the guard's answer")
            taken.append(bool(call.result().success))
            return taken[-1]

        self.until(asked, "the guard to engage")

    def follow_policy(self) -> None:
        """Mend what an earlier fault left, and go on until the guard follows the policy, both are heard here, and the commanded target has moved."""
        for healthy in ("camera on", "joints on", "shift 0"):
            self.tell_arm(healthy)
        if self.processes["policy"].poll() is not None:
            self.start("policy")
        self.signal("policy", signal.SIGCONT)
        begun_ns = self.node.get_clock().now().nanoseconds
        self.until(lambda: self.newest_ns["answer"] > begun_ns, "the policy's answers")
        self.until(self._following, "the guard to follow the policy")
        self.commands.clear()
        self.until(lambda: self._following() and self._moving(), "the arm to move")

    def _following(self) -> bool:
        # A machine that stands still for a tenth of a second is a fault to the guard too, at any time: it is engaged again.
        if self.guard and not self.guard_is(
            GuardStatus.STATE_POLICY, GuardStatus.STATE_HOLDING, GuardStatus.STATE_OPERATOR, GuardStatus.STATE_RECOVERING
        ):
            self.engage()
            self.guard.clear()
        return self.guard_is(GuardStatus.STATE_POLICY)

    def _moving(self) -> bool:
        return len(self.commands) > 20 and float(np.ptp([p for _, p in self.commands], axis=0).max()) > 1e-3

    def hold_after(self, fault: str, last_sign: str, stated_s: float, inject: Callable[[], None]) -> Hold:
        """Inject a fault while the policy is followed, wait for the hold, and check that the target then stands still.

        A guard that the machine held up for longer than MOST_LATE_S tells nothing of the fault: it is mended and injected anew, twice at most.
        """
        for _ in range(TRIES):
            self.follow_policy()
            self.guard.clear()
            inject()
            self.until(lambda: self.guard_is(*HELD), f"the guard to hold after: {fault}")
            status = self.guard[-1]
            held_ns = self.first_ns(*HELD)
            late_s = self.slowest_tick_s(self.newest_ns[last_sign], held_ns)
            self._stands_still(fault)
            hold = Hold(fault, (held_ns - self.newest_ns[last_sign]) / 1e9, stated_s, late_s, status.reason, status.message)
            if late_s <= MOST_LATE_S:
                return hold
        raise AssertionError(f"the guard was held up in each of {TRIES} tries: {hold}")

    def slowest_tick_s(self, since_ns: int, until_ns: int = 1 << 62) -> float:
        """The guard's longest time from one command to the next, of those that end between the two."""
        return max((b - a for (a, _), (b, _) in itertools.pairwise(self.commands) if since_ns <= b <= until_ns), default=0) / 1e9

    def first_ns(self, *states: int) -> int:
        """Stamp of the first status heard in one of these states."""
        return next(stamp_to_ns(s.header.stamp) for s in self.guard if s.state in states)

    def jump(self, shift_s: float) -> None:
        """Shift the arm's stamps; the last sign of life is now."""
        self.newest_ns["none"] = self.node.get_clock().now().nanoseconds
        self.tell_arm(f"shift {shift_s}")

    def _stands_still(self, fault: str) -> None:
        """The target comes to rest and stays there."""

        def at_rest() -> bool:
            return len(self.commands) > 30 and float(np.ptp([p for _, p in self.commands[-30:]], axis=0).max()) == 0.0

        self.until(at_rest, f"the commanded target to come to rest after: {fault}")

    def operator(self, *, deadman: bool, position_m: np.ndarray | None = None) -> None:
        """One message of the operator, whose target is one row a tenth of a second ahead."""
        now_ns = self.node.get_clock().now().nanoseconds
        rows = np.zeros((0, 10)) if position_m is None else eef_row(position_m[None], np.array([[1.0, 0.0, 0.0, 0.0]]), np.array([0.03]))
        msg = ActionChunk(source=ActionChunk.SOURCE_OPERATOR, space=ActionChunk.SPACE_EEF_POSE, dt_s=0.1, next_within_s=0.1, deadman=deadman)
        msg.horizon, msg.width = len(rows), 10
        msg.header.frame_id = "fr3_link0"
        msg.header.stamp = msg.observation_stamp = ns_to_stamp(now_ns)
        msg.start_stamp = ns_to_stamp(now_ns + 100_000_000)
        msg.actions = rows.astype(np.float32).ravel().tolist()
        self._operator.publish(msg)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the guard or the policy."""
        self.processes[name].send_signal(number)

    def close(self) -> None:
        """End every process."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.processes.values():
            process.wait(timeout=30)
            process.stdin.close()
            process.stdout.close()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
