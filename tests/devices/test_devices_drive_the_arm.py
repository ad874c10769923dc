"""A SpaceMouse that does not exist drives the arm in MuJoCo through teleop, guard and recorder; it is pulled out in motion and plugged in again.

Everything between the device and the episode file is the real thing: libspnav or pyspacemouse, nodes as processes, DDS, the simulator in lock-step.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from cdp_msgs.msg import GuardStatus
from cdp_msgs.srv import StartEpisode, StopEpisode
from cdp_ros.domain import own_domain
from fake_devices import FakeSpacenavd, VirtualSpaceMouse, lacks_hidraw, lacks_spacenavd
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import SetBool

from cdp.data.episode import EpisodeReader

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 150.0
LOCKSTEP = ["use_sim_time:=true", "reliable:=true"]
# The guard's limits: 0.25 m/s, a command every 10 ms.
STEP_M = 0.25 * 0.01 + 1e-6


# umockdev follows every file under /dev, and aborts a program that opens as many there as DDS does for its shared memory.
NO_SHARED_MEMORY = """<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com"><profiles>
  <transport_descriptors><transport_descriptor>
    <transport_id>udp</transport_id><type>UDPv4</type><interfaceWhiteList><address>127.0.0.1</address></interfaceWhiteList>
  </transport_descriptor></transport_descriptors>
  <participant profile_name="udp" is_default_profile="true"><rtps>
    <useBuiltinTransports>false</useBuiltinTransports><userTransports><transport_id>udp</transport_id></userTransports>
  </rtps></participant>
</profiles></dds>
"""


class Spacenavd:
    """The fake daemon, moved in its own frame."""

    kind = "spacenavd"
    loss = "the SpaceMouse was unplugged"

    def __init__(self, folder: Path) -> None:
        self._daemon = FakeSpacenavd(folder / "spnav.sock")
        self.environment = {"SPNAV_SOCKET": str(self._daemon.path)}
        self.unplug, self.plug, self.close = self._daemon.unplug, self._daemon.plug, self._daemon.close

    def push(self, forward: int = 0, left: int = 0) -> None:
        self._daemon.axes(x=-left, z=forward)

    def deadman(self, held: bool) -> None:
        self._daemon.button(0, held)


class Hidraw:
    """The virtual device, moved in the frame of HID."""

    kind = "hidraw"
    loss = "the SpaceMouse was unplugged"

    def __init__(self, folder: Path) -> None:
        self._mouse = VirtualSpaceMouse()
        profile = folder / "udp.xml"
        profile.write_text(NO_SHARED_MEMORY)
        self.environment = {**self._mouse.environment, "FASTRTPS_DEFAULT_PROFILES_FILE": str(profile)}
        self.unplug, self.plug, self.close = self._mouse.unplug, self._mouse.plug, self._mouse.close

    def push(self, forward: int = 0, left: int = 0) -> None:
        self._mouse.axes(-left, -forward, 0, 0, 0, 0)

    def deadman(self, held: bool) -> None:
        self._mouse.buttons(int(held))


class Cell:
    """Simulator, guard, teleop and recorder as processes on a domain of their own, and a node that looks on."""

    def __init__(self, folder: Path, device: str, environment: dict[str, str]) -> None:
        domain = own_domain()
        self.folder = folder
        base = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
        config = ROOT / "config"
        self.processes = {
            "sim": self._start("cdp_franka_sim.sim_node", config / "sim.yaml", ["lockstep:=true", "lockstep_timeout_s:=5.0"], base),
            "guard": self._start("cdp_policy_node.guard_node", config / "guard.yaml", ["lockstep:=true", "lockstep_timeout_s:=4.0", *LOCKSTEP], base),
            "teleop": self._start(
                "cdp_teleop_recorder.teleop_node", config / "teleop.yaml", [f"device:={device}", *LOCKSTEP], {**base, **environment}
            ),
            "recorder": self._start(
                "cdp_teleop_recorder.recorder_node", config / "recorder.yaml", [f"directory:={folder / 'episodes'}", *LOCKSTEP], base
            ),
        }
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("onlooker", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.commands: list[np.ndarray] = []
        self.measured: list[tuple[int, np.ndarray]] = []
        self.status: GuardStatus | None = None
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        best_effort = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.node.create_subscription(GuardStatus, "/cdp/guard/status", lambda m: setattr(self, "status", m), latched)
        self.node.create_subscription(PoseStamped, "/franka_robot_state_broadcaster/current_pose", self._on_pose, best_effort)
        self.node.create_subscription(PoseStamped, "/cartesian_impedance_example_controller/equilibrium_pose", self._on_command, 1000)

    def _start(self, module: str, config: Path, parameters: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        arguments = [word for parameter in parameters for word in ("-p", parameter)]
        command = [sys.executable, "-c", f"import sys; from {module} import main; sys.exit(main())"]
        with (self.folder / f"{module}.log").open("w") as log:
            return subprocess.Popen([*command, "--ros-args", "--params-file", str(config), *arguments], env=environment, stdout=log, stderr=log)

    def log(self, module: str = "cdp_teleop_recorder.teleop_node") -> str:
        return (self.folder / f"{module}.log").read_text()

    def _on_pose(self, msg: PoseStamped) -> None:
        p = msg.pose.position
        self.measured.append((msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec, np.array([p.x, p.y, p.z])))

    def _on_command(self, msg: PoseStamped) -> None:
        p = msg.pose.position
        self.commands.append(np.array([p.x, p.y, p.z]))

    @property
    def position(self) -> np.ndarray:
        return self.measured[-1][1]

    def until(self, condition, what: str):
        end = time.monotonic() + DEADLINE_S
        while not (value := condition()):
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended while waiting for {what}; teleop said:\n{self.log()[-3000:]}"
            assert time.monotonic() < end, f"not within {DEADLINE_S:.0f} s: {what}; teleop said:\n{self.log()[-3000:]}"
            self.executor.spin_once(timeout_sec=0.01)
        return value

    def state(self, state: int) -> bool:
        return self.status is not None and self.status.state == state

    def simulated(self, seconds: float) -> None:
        """Look on for a while of the simulated time."""
        end_ns = self.measured[-1][0] + round(seconds * 1e9)
        self.until(lambda: self.measured[-1][0] >= end_ns, f"{seconds} s of simulated time")

    def call(self, kind: type, name: str, request, accepted=lambda answer: answer.success):
        """Call a service until it is granted: a node may not have heard the robot yet."""
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, name)
        while True:
            future = client.call_async(request)
            self.until(future.done, f"the answer of {name}")
            if accepted(future.result()):
                return future.result()
            self.simulated(0.2)

    def close(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGINT)
        for process in self.processes.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.mark.timeout(900)
@pytest.mark.long
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(Spacenavd, marks=pytest.mark.skipif(bool(lacks_spacenavd()), reason=lacks_spacenavd())),
        pytest.param(Hidraw, marks=pytest.mark.skipif(bool(lacks_hidraw()), reason=lacks_hidraw())),
    ],
    ids=["spacenavd", "hidraw"],
)
def test_it_drives_is_recorded_stops_when_unplugged_and_goes_on_when_plugged_in(kind, tmp_path):
    device = kind(tmp_path)
    cell = Cell(tmp_path, kind.kind, device.environment)
    try:
        cell.until(lambda: cell.measured and "moved by" in cell.log(), "the simulator, and the device")
        cell.call(SetBool, "/cdp/guard/engage", SetBool.Request(data=True))
        cell.call(StartEpisode, "/cdp/recorder/start", StartEpisode.Request(task="slide", operator_name="nobody", seed=0))
        before = cell.position

        device.push(forward=250)
        cell.simulated(0.5)
        np.testing.assert_allclose(cell.position, before, atol=2e-3, err_msg="it moved without the deadman")
        device.deadman(True)
        cell.until(lambda: cell.position[0] - before[0] > 0.04, "40 mm forward")
        assert abs(cell.position[1] - before[1]) < 0.01

        device.unplug()
        cell.until(lambda: kind.loss in cell.log(), "the loss in teleop's log")
        cell.until(lambda: cell.state(GuardStatus.STATE_HOLDING), "the guard to hold")
        assert "the arm stops" in cell.log()
        cell.simulated(1.0)
        stopped = cell.position
        cell.simulated(0.5)
        np.testing.assert_allclose(cell.position, stopped, atol=1e-3, err_msg="it did not stop")

        device.plug()
        cell.until(lambda: cell.log().count("moved by") == 2, "teleop to find the device again")
        cell.simulated(0.5)
        np.testing.assert_allclose(cell.position, stopped, atol=1e-3, err_msg="it moved by itself when the device came back")
        device.deadman(True)
        device.push(left=250)
        cell.until(lambda: cell.position[1] - stopped[1] > 0.04, "40 mm to the left")
        device.push()
        device.deadman(False)
        cell.until(lambda: cell.state(GuardStatus.STATE_HOLDING), "the guard to hold")
        path = cell.call(StopEpisode, "/cdp/recorder/stop", StopEpisode.Request(keep=True)).path
    finally:
        cell.close()
        device.close()

    largest_m = float(np.max(np.linalg.norm(np.diff(np.array(cell.commands), axis=0), axis=1)))
    assert largest_m <= STEP_M, f"the commanded target jumped by {largest_m * 1e3:.2f} mm"
    with EpisodeReader(path) as episode:
        rows, held = np.asarray(episode.column("action", "data")), np.asarray(episode.column("action", "deadman"))
        assert len(episode.stamps_ns("agentview_image")) > 10
    assert np.all(held == 1) and len(rows) > 6
    assert rows[:, 0].max() - rows[0, 0] > 0.03 and rows[-1, 1] - rows[0, 1] > 0.03
    print(f"\n{kind.kind}: {len(rows)} actions recorded, largest step of the commanded target {largest_m * 1e3:.2f} mm in 10 ms")
