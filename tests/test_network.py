"""Fast DDS's profiles as it takes them: what its sockets are bound to, and who hears whom of two machines, which are network namespaces here."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cdp_ros.domain import own_domain

ROOT = Path(__file__).resolve().parents[1]
# Of this machine's routes none has to lead there: nothing is sent.
ELSEWHERE = ("192.0.2.1", 9)
BOUND = """
from pathlib import Path

import rclpy

rclpy.init()
node = rclpy.create_node("profile")
links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
mine = {link[8:-1] for link in links if link.startswith("socket:[")}
rows = [line.split() for line in Path("/proc/self/net/udp").read_text().splitlines()[1:]]
packed = [bytes.fromhex(row[1].split(":")[0])[::-1] for row in rows if row[9] in mine]
print(*sorted({".".join(str(part) for part in address) for address in packed}))
"""
TALK = """
import sys
import time

import rclpy
from std_msgs.msg import String

rclpy.init()
node, heard = rclpy.create_node(sys.argv[1]), set()
talk = node.create_publisher(String, "talk", 1)
node.create_subscription(String, "talk", lambda message: heard.add(message.data), 10)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end and "the end" not in heard:
    talk.publish(String(data=sys.argv[1]))
    rclpy.spin_once(node, timeout_sec=0.05)
    if len(heard) == 2:
        # Both leave when both have heard both.
        talk.publish(String(data="the end"))
print(*sorted(heard - {"the end"}))
"""
# Shared memory of its own, too: Fast DDS takes two namespaces for one machine.
MACHINE = """
mount -t tmpfs tmpfs /dev/shm && read -r go && ip link set lo up && ip address add "$2" dev cdp0 && ip link set cdp0 up
ip route add 239.0.0.0/8 dev cdp0 && exec "$1" -c "$3" "$4" "$5"
"""


def environment(profile, address):
    domain = str(own_domain())
    given = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(ROOT / "config" / profile), "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "ROS_DOMAIN_ID": domain}
    return {**os.environ, **given, "CDP_NETWORK_ADDRESS": address}


def own_address():
    """This machine's address on the way out; empty where it has no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("profile", ["fastdds.xml", "fastdds_network.xml"])
def test_fast_dds_takes_the_profile_and_speaks_on_its_addresses_alone(profile):
    """Catches a profile that Fast DDS does not understand: it says so, and speaks on every address."""
    address = own_address()
    if profile == "fastdds_network.xml" and not address:
        pytest.skip("no network but the loopback")
    done = subprocess.run([sys.executable, "-c", BOUND], env=environment(profile, address), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stdout + done.stderr
    bound = set(done.stdout.split())
    # Discovery listens to its multicast group.
    assert bound - {"239.255.0.1"} == ({"127.0.0.1"} if profile == "fastdds.xml" else {"127.0.0.1", address})


@pytest.mark.long
@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"), reason="makes network namespaces: root, ip and unshare"
)
@pytest.mark.parametrize(("profile", "hears"), [("fastdds.xml", False), ("fastdds_network.xml", True)])
def test_two_machines_hear_each_other_with_the_network_profile_alone(profile, hears):
    machines = []
    base = environment(profile, "")
    seconds = "30" if hears else "5"
    for number in (1, 2):
        address = f"10.77.0.{number}"
        command = ["unshare", "-n", "-m", "bash", "-c", MACHINE, "machine", sys.executable, f"{address}/24", TALK, f"machine{number}", seconds]
        given = {**base, "CDP_NETWORK_ADDRESS": address}
        machines.append(subprocess.Popen(command, env=given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    try:
        # A namespace is there when its link differs from ours.
        ours = Path("/proc/self/ns/net").readlink()
        while any(Path(f"/proc/{machine.pid}/ns/net").readlink() == ours for machine in machines):
            assert all(machine.poll() is None for machine in machines)
        ends = [str(machine.pid) for machine in machines]
        cable = ["ip", "link", "add", "cdp0", "netns", ends[0], "type", "veth", "peer", "name", "cdp0", "netns", ends[1]]
        subprocess.run(cable, check=True)
        for machine in machines:
            machine.stdin.write("\n")
            machine.stdin.flush()
        heard = [set(machine.communicate(timeout=60)[0].split()) for machine in machines]
        both = {"machine1", "machine2"}
        assert heard == ([both, both] if hears else [{"machine1"}, {"machine2"}])
    finally:
        for machine in machines:
            machine.kill()
            machine.wait()
