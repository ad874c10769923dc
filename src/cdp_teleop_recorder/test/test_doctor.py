"""`cdp doctor`: every finding from made-up sources. Each test says what a machine looks like, and what has to be said of it."""

import argparse
import json
import socket
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from cdp_ros.domain import own_domain
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from cdp_teleop_recorder.devices.base import DeviceError
from cdp_teleop_recorder.doctor import command, network
from cdp_teleop_recorder.doctor.camera import Heard, camera_rate, listen
from cdp_teleop_recorder.doctor.clock import ClockState, clock, kernel_clock
from cdp_teleop_recorder.doctor.finding import Finding, as_json, as_text, examine, failed
from cdp_teleop_recorder.doctor.host import BYTES_PER_S, disk, governor, kernel
from cdp_teleop_recorder.doctor.packages import packages, version_of
from cdp_teleop_recorder.doctor.rights import UNLIMITED, Limits, rights
from cdp_teleop_recorder.doctor.ros_settings import ros_settings
from cdp_teleop_recorder.doctor.shared_memory import shared_memory
from cdp_teleop_recorder.doctor.spacemouse import spacemouse

RT = "Linux version 6.8.0-rt8 (x) #1 SMP PREEMPT_RT\n"
PLAIN = "Linux version 6.1.0-18-amd64 (x) #1 SMP PREEMPT_DYNAMIC\n"


def put(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def one(findings, name):
    (found,) = [finding for finding in findings if finding.name == name]
    return found


# ---- running them
def test_a_probe_that_raises_hides_nothing():
    def broken():
        yield Finding("a", "ok", "fine")
        raise ZeroDivisionError("no such thing")

    found = examine({"first": broken, "second": lambda: [Finding("b", "fail", "bad", "sudo do it")]})
    assert [(f.name, f.verdict) for f in found] == [("a", "ok"), ("first", "warn"), ("b", "fail")]
    assert "ZeroDivisionError: no such thing" in as_text(found)
    assert failed(found) and not failed(found[:-1])


def test_the_report_names_the_fix_under_its_finding():
    text = as_text([Finding("disk", "fail", "full", "sudo rm -r x\nbuy a disk"), Finding("ros", "ok", "jazzy")])
    lines = text.splitlines()
    assert lines[0].startswith("fail  disk") and lines[1].strip() == "$ sudo rm -r x" and lines[2].strip() == "-> buy a disk"
    assert lines[-1] == "1 ok, 0 warn, 1 fail"
    told = json.loads(as_json([Finding("disk", "fail", "full", "x")]))
    assert told == {"ok": False, "findings": [{"name": "disk", "verdict": "fail", "text": "full", "fix": "x"}]}


# ---- kernel, processors, disk
@pytest.mark.parametrize(
    ("files", "arm", "verdict"),
    [
        ({"proc/version": RT}, True, "ok"),
        ({"proc/version": PLAIN, "sys/kernel/realtime": "1\n"}, True, "ok"),
        ({"proc/version": PLAIN, "sys/kernel/realtime": "0\n"}, True, "fail"),
        ({"proc/version": PLAIN}, False, "warn"),
    ],
)
def test_the_kernel(tmp_path, files, arm, verdict):
    (found,) = kernel(put(tmp_path, files), arm)
    assert found.verdict == verdict and bool(found.fix) == (verdict != "ok")


@pytest.mark.parametrize(("name", "fix"), [("debian", "linux-image-rt"), ("ubuntu", "pro enable realtime-kernel"), ("arch", "linux-image-rt")])
def test_the_kernel_is_installed_as_the_distribution_does(tmp_path, name, fix):
    put(tmp_path, {"proc/version": PLAIN, "etc/os-release": f'NAME="x"\nID={name}\n'})
    (found,) = kernel(tmp_path, True)
    assert fix in found.fix


@pytest.mark.parametrize(
    ("governors", "verdict", "said"),
    [(["performance"] * 4, "ok", "on 4"), (["performance", "powersave"], "warn", "powersave on 1 of 2"), ([], "ok", "not scaled")],
)
def test_the_governor(tmp_path, governors, verdict, said):
    put(tmp_path, {f"sys/devices/system/cpu/cpu{i}/cpufreq/scaling_governor": f"{name}\n" for i, name in enumerate(governors)})
    (found,) = governor(tmp_path)
    assert found.verdict == verdict and said in found.text


@pytest.mark.parametrize(
    ("free", "verdict"), [(500_000_000 - 1, "fail"), (500_000_000, "warn"), (1800 * BYTES_PER_S - 1, "warn"), (1800 * BYTES_PER_S, "ok")]
)
def test_the_disk_by_what_one_camera_takes(tmp_path, free, verdict):
    (found,) = disk(tmp_path / "data/episodes", 500, lambda path: free if path == tmp_path else 0)
    assert found.verdict == verdict
    assert f"{free / BYTES_PER_S / 60:.0f} min" in found.text


def test_a_disk_that_cannot_be_written_to(tmp_path):
    (found,) = disk(tmp_path, 500, writable=lambda path: False)
    assert found.verdict == "fail" and f"chown $USER {tmp_path}" in found.fix
    (tmp_path / "file").touch()
    (found,) = disk(tmp_path / "file", 500)
    assert found.verdict == "fail" and "is a file" in found.text


# ---- rights
NONE, NICE, ALL = "0000000000000000", f"{1 << 23:016x}", f"{(1 << 23) | (1 << 14):016x}"


@pytest.mark.parametrize(
    ("capabilities", "limits", "arm", "rtprio", "memlock", "group"),
    [
        (NONE, Limits(99, UNLIMITED), True, "ok", "ok", "ok"),
        (ALL, Limits(0, 65536), True, "ok", "ok", "ok"),
        (NICE, Limits(0, 65536), True, "ok", "fail", "ok"),
        (NONE, Limits(50, UNLIMITED), True, "fail", "ok", "warn"),
        (NONE, Limits(0, 8 << 20), False, "warn", "warn", "warn"),
        (NONE, Limits(UNLIMITED, UNLIMITED), True, "ok", "ok", "ok"),
    ],
)
def test_rights_by_limits_and_capabilities(tmp_path, capabilities, limits, arm, rtprio, memlock, group):
    put(tmp_path, {"proc/self/status": f"Name:\tx\nCapPrm:\t{ALL}\nCapEff:\t{capabilities}\n"})
    found = list(rights(tmp_path, limits, set(), set(), arm))
    assert [one(found, name).verdict for name in ("rtprio", "memlock", "realtime group")] == [rtprio, memlock, group]


def test_a_new_member_of_the_group_is_told_to_log_in_again(tmp_path):
    put(tmp_path, {"proc/self/status": f"CapEff:\t{NONE}\n"})
    stranger = one(rights(tmp_path, Limits(0, 0), set(), set(), True), "rtprio")
    assert "usermod -aG realtime" in stranger.fix and "limits.d" in stranger.fix
    new = one(rights(tmp_path, Limits(0, 0), set(), {"realtime"}, True), "rtprio")
    assert "log out and in" in new.fix and "usermod" not in new.fix
    assert one(rights(tmp_path, Limits(0, 0), {"realtime"}, {"realtime"}, True), "realtime group").verdict == "ok"


# ---- network
@pytest.mark.parametrize(
    ("times_ms", "verdict"),
    [
        ([0.2] * 100, "ok"),
        ([0.2] * 99 + [1.5], "warn"),  # one packet late: the p99 stays below a millisecond
        ([0.2] * 90 + [0.7] * 10, "warn"),
        ([0.2] * 90 + [1.2] * 10, "fail"),
        ([0.2] * 99 + [None], "warn"),
        ([0.2] * 98 + [None] * 2, "fail"),
        ([None] * 100, "fail"),
    ],
)
def test_round_trips(times_ms, verdict):
    seconds = [None if t is None else t / 1e3 for t in times_ms]
    (found,) = network.round_trips("172.16.0.2", lambda address, count: (seconds, "made up"))
    assert found.verdict == verdict and "172.16.0.2" in found.text and bool(found.fix) == (verdict != "ok")


def test_the_statistics_are_those_of_the_packets():
    times = [i / 1e6 for i in range(1, 101)]
    (found,) = network.round_trips("a", lambda address, count: (times, "made up"))
    assert "0 of 100 lost, round trip 0.05 ms median, 0.10 ms p99, 0.10 ms at most" in found.text


def test_this_machine_answers_itself():
    times, _ = network.ping("127.0.0.1", 20)
    assert len(times) == 20 and all(t is not None and 0 < t < 1 for t in times)


class Server:
    """A real TCP server on a free port that answers one connection with what ``reply`` makes of its first bytes."""

    def __init__(self, reply):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.got = b""
        self.thread = threading.Thread(target=self._serve, args=(reply,), daemon=True)
        self.thread.start()

    def _serve(self, reply):
        connection, _ = self.socket.accept()
        with connection:
            if reply is not None:
                self.got = connection.recv(64)
                connection.sendall(reply(self.got))

    def close(self):
        self.thread.join(10)
        self.socket.close()


def connect_answer(status, version):
    return lambda request: struct.pack("<IIIBH", 0, struct.unpack("<I", request[4:8])[0], 15, status, version)


@pytest.mark.parametrize(
    ("reply", "handshake", "verdict", "said"),
    [
        (None, False, "ok", "accepts connections"),
        (connect_answer(0, 10), True, "ok", "version 10"),
        (connect_answer(1, 8), True, "fail", "speaks version 8"),
        (connect_answer(7, 10), True, "fail", "status 7"),
        (lambda request: b"", True, "fail", "closes the connection"),
        (lambda request: b"\0" * 5, True, "fail", "closes the connection"),
    ],
)
def test_the_control_interface(reply, handshake, verdict, said):
    server = Server(reply)
    (found,) = network.fci("127.0.0.1", server.port, handshake)
    server.close()
    assert found.verdict == verdict and said in found.text
    if handshake:
        command_word, _, size, version, udp_port = struct.unpack("<IIIHH", server.got)
        assert (command_word, size, version) == (0, len(server.got), 10) and udp_port > 0


def test_an_interface_that_is_off_and_an_address_that_is_nowhere():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (off,) = network.fci("127.0.0.1", port, False)
    assert off.verdict == "fail" and "is off" in off.text and "Activate FCI" in off.fix
    (nowhere,) = network.fci("no.such.host.invalid", port, False)
    assert nowhere.verdict == "fail" and "cannot be reached" in nowhere.text


# ---- clock, ROS, packages
@pytest.mark.parametrize(("state", "verdict"), [(ClockState(True, 0.002), "ok"), (ClockState(True, 0.25), "warn"), (ClockState(False, 16.0), "warn")])
def test_the_clock(state, verdict):
    (found,) = clock(state)
    assert found.verdict == verdict


def test_the_kernel_tells_of_its_clock():
    assert 0 <= kernel_clock().max_error_s <= 17  # the kernel stops counting at 16 s


def settings(**environment):
    installed = {"rmw_fastrtps_cpp"}
    return list(ros_settings({"ROS_DISTRO": "jazzy", **environment}, installed.__contains__))


def test_ros_as_this_workspace_sets_it(tmp_path):
    profile = tmp_path / "fastdds.xml"
    profile.touch()
    found = settings(FASTRTPS_DEFAULT_PROFILES_FILE=str(profile), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    assert [f.verdict for f in found] == ["ok", "ok", "ok"]


@pytest.mark.parametrize(
    ("environment", "name", "verdict", "said"),
    [
        ({}, "rmw", "warn", "without a profile"),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "nowhere.xml"}, "rmw", "fail", "not there"),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, "rmw", "fail", "not installed"),
        ({}, "ros domain", "warn", "everybody else's"),
        ({"ROS_DOMAIN_ID": "7"}, "ros domain", "ok", "domain 7"),
        ({"ROS_DOMAIN_ID": "seven"}, "ros domain", "fail", "'seven'"),
        ({"ROS_DOMAIN_ID": "233"}, "ros domain", "fail", "233"),
        ({"ROS_DOMAIN_ID": "150"}, "ros domain", "warn", "above 101"),
        ({"ROS_LOCALHOST_ONLY": "1"}, "ros domain", "ok", "this machine only"),
    ],
)
def test_ros_settings(environment, name, verdict, said):
    found = one(settings(**environment), name)
    assert found.verdict == verdict and said in found.text


CONFIG = Path(__file__).resolve().parents[3] / "config"


@pytest.mark.parametrize(
    ("profile", "environment", "verdict", "said"),
    [
        ("fastdds.xml", {}, "warn", "keeps the nodes to this machine"),
        ("fastdds_network.xml", {}, "fail", "is not set"),
        ("fastdds_network.xml", {"CDP_NETWORK_ADDRESS": "192.0.2.1"}, "fail", "which no interface of this machine has"),
        ("fastdds_network.xml", {"CDP_NETWORK_ADDRESS": "127.0.0.1"}, "ok", "other machines by 127.0.0.1"),
    ],
)
def test_the_shipped_profiles_reach_other_machines_or_are_said_not_to(profile, environment, verdict, said):
    found = settings(FASTRTPS_DEFAULT_PROFILES_FILE=str(CONFIG / profile), ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET", ROS_DOMAIN_ID="7", **environment)
    assert one(found, "ros network").verdict == verdict and said in one(found, "ros network").text


def segments(root, sizes, mapped):
    """Segments of ``sizes`` bytes by name, sparse, each with its lock file; a process maps those in ``mapped``."""
    (root / "dev/shm").mkdir(parents=True)
    for name, size in sizes.items():
        for suffix, length in (("", size), ("_el", 0)):
            with (root / "dev/shm" / f"fastrtps_{name}{suffix}").open("wb") as file:
                file.truncate(length)
    lines = [f"7f60bde7f000-7f60c0000000 rw-s 00000000 00:1b 661586                     /dev/shm/fastrtps_{name}" for name in mapped]
    return put(
        root, {"proc/17/maps": "\n".join(["7f60fde00000-7f60fde09000 r-xp 00000000 fe:00 3 /lib/libfastrtps.so.2", *lines]), "proc/self/maps": ""}
    )


def left_behind(root, user, tools=()):
    (found,) = shared_memory(root, user, lambda tool: tool if tool in tools else None)
    return found


def test_shared_memory_that_killed_nodes_left_behind_is_counted_without_what_is_in_use(tmp_path):
    root = segments(tmp_path, {"a1": 35_000_000, "b2": 90_000_000, "c3": 60_000_000, "port7000": 500_000}, ["a1", "port7000"])
    found = left_behind(root, 0)
    assert found.verdict == "warn" and found.fix.endswith("rm -f /dev/shm/*fastrtps_*") and found.fix.startswith("end every node")
    assert found.text.startswith("2 segments of Fast DDS in use, 2 left behind by nodes that were killed: 150 MB")
    assert left_behind(root, 0, ["fastdds"]).fix == "fastdds shm clean"


def test_shared_memory_of_another_user_is_not_called_left_behind(tmp_path):
    """Whose processes cannot be looked into: removing their segments would break them."""
    root = segments(tmp_path, {"a1": 500_000_000}, [])
    owner = (root / "dev/shm/fastrtps_a1").stat().st_uid
    assert left_behind(root, owner).verdict == "warn"
    assert left_behind(root, owner + 1).text == "0 segments of Fast DDS in use, none left behind"


def test_a_little_shared_memory_is_no_warning_and_none_at_all_neither(tmp_path):
    assert left_behind(segments(tmp_path, {"a1": 35_000_000}, []), 0).verdict == "ok"
    assert left_behind(tmp_path / "nothing", 0).verdict == "ok"


def test_a_shell_without_ros():
    (found,) = ros_settings({}, lambda package: True)
    assert found.verdict == "fail" and found.fix == ". tools/env.sh"


@pytest.mark.parametrize(
    ("missing", "name", "verdict"),
    [({"h5py"}, "python packages", "fail"), ({"openvino"}, "inference", "ok"), ({"openvino", "onnxruntime"}, "inference", "fail")],
)
def test_packages(missing, name, verdict):
    found = list(packages(lambda module, distribution: None if module in missing else "1.0", (3, 11)))
    assert one(found, name).verdict == verdict


def test_optional_packages_are_warnings_that_say_what_is_lost():
    found = list(packages(lambda module, distribution: None if module == "nicegui" else "1.0", (3, 11)))
    (warning,) = [f for f in found if f.verdict == "warn"]
    assert "operator's page" in warning.text and warning.fix == "pip install -r requirements/panel.txt"
    assert one(packages(lambda *_: "1.0", (3, 14)), "python").verdict == "warn"


def test_versions_are_those_of_the_distributions():
    assert version_of("h5py", "h5py") and version_of("no_such_module", "x") is None and version_of("json", "no-such-distribution") == ""


# ---- camera, SpaceMouse
def test_a_camera_is_listened_to_over_the_middleware(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain()))
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("camera", context=context)
    publisher = node.create_publisher(Image, "/side/image_raw", 10)
    done = threading.Event()

    def publish():
        stamp = 0
        while not done.wait(0.01):
            stamp += 1
            publisher.publish(Image(header=Header(stamp=Time(sec=stamp)), height=1, width=1, step=3, encoding="rgb8", data=b"abc"))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        # Discovery may take its time on a busy machine.
        found = next(heard for heard in (listen("/side/image_raw", 1.0) for _ in range(10)) if len(heard.stamp_ns) > 1)
    finally:
        done.set()
        thread.join()
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert found.publishers == 1
    assert len(found.stamp_ns) == len(found.arrival_ns)
    assert all(step > 0 and step % 1_000_000_000 == 0 for step in np.diff(found.stamp_ns)) and list(found.arrival_ns) == sorted(found.arrival_ns)


def heard(rate_hz, publishers=1, age_s=0.02, count=60):
    arrival = [round(i * 1e9 / rate_hz) for i in range(count)]
    return Heard(publishers, [t - round(age_s * 1e9) for t in arrival], arrival)


@pytest.mark.parametrize(
    ("what", "verdict", "said"),
    [
        (heard(30), "ok", "30.0 Hz of 30"),
        (heard(26), "warn", "26.0 Hz"),
        (heard(14), "fail", "14.0 Hz"),
        (Heard(0, [], []), "warn", "nobody publishes"),
        (Heard(1, [], []), "fail", "0 images came"),
    ],
)
def test_the_cameras_rate(what, verdict, said):
    (found,) = camera_rate("/agentview/image_raw", 30.0, what)
    assert found.verdict == verdict and said in found.text


@pytest.mark.parametrize(("age_s", "said"), [(0.25, "250 ms old"), (-0.2, "200 ms in the future")])
def test_stamps_of_another_clock_are_named(age_s, said):
    found = one(camera_rate("/c", 30.0, heard(30, age_s=age_s)), "camera clock")
    assert found.verdict == "warn" and said in found.text


def test_two_publishers_of_one_camera_are_a_failure():
    assert failed(camera_rate("/c", 30.0, heard(60, publishers=2)))


class FakeDevice:
    def __init__(self, name, problem=""):
        self.name, self.problem, self.closed = name, problem, False

    def open(self):
        if self.problem:
            raise DeviceError(self.name, self.problem, f"mend {self.name}")
        return "SpaceMouse Compact"

    def close(self):
        self.closed = True


def test_one_way_to_the_spacemouse_is_enough():
    devices = [FakeDevice("spacenavd", "no daemon"), FakeDevice("hidraw")]
    (found,) = spacemouse(devices)
    assert found.verdict == "ok" and "hidraw: SpaceMouse Compact" in found.text
    assert all(device.closed for device in devices)
    (found,) = spacemouse([FakeDevice("spacenavd", "no daemon"), FakeDevice("hidraw", "not plugged in")])
    assert found.verdict == "warn" and "no daemon" in found.text and "mend hidraw" in found.fix


# ---- the command
def parse(*words):
    parser = argparse.ArgumentParser()
    command.register_doctor(parser.add_subparsers())
    return parser.parse_args(["doctor", *words])


def test_the_command_looks_at_all_of_it_and_its_status_is_the_verdict(capsys, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(command, "listen", lambda topic, seconds: seen.append((topic, seconds)) or heard(30))
    monkeypatch.setattr(network, "ping", lambda address, count: ([0.0002] * count, "made up"))
    server = Server(None)
    monkeypatch.setattr(network, "FCI_PORT", server.port)
    code = command.run_doctor(parse("--robot-ip", "127.0.0.1", "--json", "--seconds", "1", "--directory", str(tmp_path)))
    told = json.loads(capsys.readouterr().out)
    names = {finding["name"] for finding in told["findings"]}
    assert names >= {"kernel", "rtprio", "memlock", "realtime group", "cpu governor", "network", "fci", "camera", "spacemouse", "clock", "rmw"}
    assert names >= {"ros domain", "disk", "python", "python packages", "ros packages"}
    assert code == (0 if told["ok"] else 1) and told["ok"] == all(finding["verdict"] != "fail" for finding in told["findings"])
    server.close()
    assert seen == [("/agentview/image_raw", 1.0)]
    assert {(f["name"], f["verdict"]) for f in told["findings"]} >= {("network", "ok"), ("fci", "ok"), ("camera", "ok")}


def test_without_an_address_the_arm_is_said_to_be_left_out(capsys):
    found = command.probes(parse("--image-topic", ""))
    assert "fci" not in found and "camera" not in found
    (skipped,) = found["network"]()
    assert skipped.verdict == "warn" and "--robot-ip" in skipped.fix
